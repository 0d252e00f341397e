"""A trained model behind HTTP: sessions that listen and answer, OpenAI's transcription and chat forms, and a page."""
