"""Speech-XL Suite: long-form speech for language models through Speech Summarization Tokens."""

__version__ = "0.1.0"
