"""CTC over the LLM's tokens: an adapter of token posteriors, an auxiliary loss, a phase without the LLM."""

from speech_xl.extensions.ctc.ctc_alignment import CTCAlignment
from speech_xl.extensions.ctc.posterior_adapter import PosteriorAdapter
from speech_xl.extensions.ctc.sst_token_ctc import SSTTokenCTC
from speech_xl.extensions.ctc.token_ctc import TokenCTC

__all__ = ["CTCAlignment", "PosteriorAdapter", "SSTTokenCTC", "TokenCTC"]
