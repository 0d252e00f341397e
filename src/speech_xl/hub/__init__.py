"""The Hugging Face form of a trained model: config, model, processor, export and model card.

``from speech_xl import SpeechXL`` is the way in; docs/sharing.md explains it. Importing this package imports neither
torch nor transformers.
"""
