"""What is this project's own beside Speech-XL; each is off unless a config key asks for it."""
