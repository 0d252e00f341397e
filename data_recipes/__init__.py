"""Recipes: one file a corpus, each a `speech_xl.data.corpus.Corpus` that makes or downloads lhotse manifests."""
