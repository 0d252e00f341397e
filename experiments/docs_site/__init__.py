"""What the documentation site needs beside its pages: docstrings as Markdown, and notebooks with their output."""
