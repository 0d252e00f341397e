"""Phase 1, semantic alignment: the adapter learns to speak the LLM's language by transcribing (ASR)."""

from speech_xl.phases.phase import Phase


class SemanticAlignment(Phase):
    """ASR without compression: everything as in `Phase`."""
