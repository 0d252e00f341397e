"""The three phases, one LightningModule each over one shared backbone, and a baseline's in the third's place."""

from speech_xl.phases.mean_pooling import MeanPooling
from speech_xl.phases.modal_alignment import ModalAlignment
from speech_xl.phases.phase import Phase
from speech_xl.phases.semantic_alignment import SemanticAlignment
from speech_xl.phases.sst_compression import SSTCompression

__all__ = ["MeanPooling", "ModalAlignment", "Phase", "SSTCompression", "SemanticAlignment"]
