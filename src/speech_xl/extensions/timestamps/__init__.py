"""Timestamps in transcripts: marks such as "[12]", the rule they obey, word times and their alignment."""
