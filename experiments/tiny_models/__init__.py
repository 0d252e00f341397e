"""Makers of the tiny encoder and LLM that the default stages run on."""
