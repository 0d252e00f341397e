"""DualAdapter: a semantic and an acoustic adapter side by side, their frames added (DIFFA, arXiv 2507.18452)."""

from torch import Tensor, nn

from speech_xl.model.adapters.adapter import Adapted, Adapter, MultiLayerAdapter
from speech_xl.model.adapters.semantic import SemanticAdapter


class DualAdapter(Adapter):
    """Semantic and acoustic frames at one rate, added: the words and how they are said."""

    def __init__(self, semantic: SemanticAdapter, acoustic: MultiLayerAdapter) -> None:
        super().__init__()
        if semantic.stride != acoustic.stride:
            raise ValueError(
                f"dual adapter: semantic stride {semantic.stride} and acoustic stride {acoustic.stride} must be equal"
            )
        self.semantic, self.acoustic, self.stride = semantic, acoustic, semantic.stride
        self.grain = acoustic.grain  # the stride or a multiple of it
        self.layers = (*acoustic.layers, -1)
        self.scores_tokens = semantic.scores_tokens

    def build(self, encoder_width: int, llm_width: int, scale: float) -> None:
        self.semantic.build(encoder_width, llm_width, scale)
        self.acoustic.build(encoder_width, llm_width, scale)
        nn.init.zeros_(self.acoustic.norm.weight)  # begins as the semantic adapter, so stage 2 can add it to stage 1

    def forward(self, frames: Tensor, lengths: Tensor, embeddings: Tensor) -> Adapted:
        semantic = self.semantic(frames, lengths, embeddings)
        acoustic = self.acoustic(frames[:, :-1], lengths, embeddings)
        return semantic._replace(frames=semantic.frames + acoustic.frames)
