"""Speech-XL Suite: long-form speech for language models through Speech Summarization Tokens."""

__version__ = "0.1.0"
SAMPLE_RATE = 16_000  # Hz, what every supported encoder listens at and every corpus is brought to
SHORTEST_SECONDS = 0.1  # of audio in an interval: a last window below it (rounding, a breath) joins the one before it
