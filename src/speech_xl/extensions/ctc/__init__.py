"""Alignment by CTC before the LLM is run: flat starts, token scores, vocabulary."""
