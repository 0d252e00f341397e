"""The three phases, one LightningModule each over one shared backbone."""

from speech_xl.phases.modal_alignment import ModalAlignment
from speech_xl.phases.phase import Phase, StepStats
from speech_xl.phases.semantic_alignment import SemanticAlignment
from speech_xl.phases.sst_compression import SSTCompression

__all__ = ["ModalAlignment", "Phase", "SSTCompression", "SemanticAlignment", "StepStats"]
