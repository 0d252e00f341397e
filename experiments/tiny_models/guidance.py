"""Guided attention: where heads of a tiny LLM should look while it hears and answers, and what they miss of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from data_recipes.session_truths import NOWHERE, Asked
from experiments.tiny_models.pseudo_frames import SILENCE, Stretched
from experiments.tiny_models.tiny_llm_weights import layers_without_rope
from speech_xl.model import LLM
from speech_xl.model.prompt import IGNORE, Suffix
from speech_xl.model.sst import attention_modules
from speech_xl.run.configs import ConfigError


class Guidance:
    """Tells the first head of each layer without RoPE where to look, among the prefix and the frames.

    Where a word of an answer is predicted: at the frames that tell it, or at the prefix's first token for "no", as
    nothing was said. Where a number's first word is predicted, the layers before the last look at the name asked for.
    At the frames of a number's words: at who gives it (first of these layers alone). After guided attention (Tachibana
    et al., arXiv 1710.08969), with the true alignment in place of a diagonal.

    Raises ConfigError for an LLM with fewer than two layers without RoPE, or without a token before the audio.
    """

    def __init__(self, llm: LLM) -> None:
        self.llm = llm
        self.seen: dict[tuple[int, str], Tensor] = {}  # queries and keys of the latest pass, [B, T, heads * D]
        config = llm.model.config
        self.head = config.hidden_size // config.num_attention_heads
        self.layers = layers_without_rope(llm)
        if len(self.layers) < 2 or not llm.prompt.prefix:
            raise ConfigError(
                f"{llm.name}: {len(self.layers)} layers without RoPE and {len(llm.prompt.prefix)} tokens before the "
                "audio; a tiny LLM has two or more such layers (no_rope_layers in config.json), and a bos_token"
            )
        for layer in self.layers:
            for name in ("q_proj", "k_proj"):
                projection = attention_modules(llm.decoder)[layer].get_submodule(name)
                projection.register_forward_hook(self._keep(layer, name))

    def _keep(self, layer: int, name: str):
        def hook(_module, _args, output: Tensor) -> None:
            self.seen[layer, name] = output

        return hook

    def __call__(
        self,
        rows: list[Stretched],
        suffixes: list[list[Suffix]],
        asked: list[list[Asked]],
        intervals: Sequence[Sequence[int]],
    ) -> Tensor:
        """Mean of -log(attention on where to look, as the class says, of what a view shows); 0 with nothing to look
        at. A word of an answer counts in every layer, a number once for each of its frames."""
        prefix = len(self.llm.prompt.prefix)
        losses = [torch.zeros(1)]
        for number, (row, turns) in enumerate(zip(rows, asked, strict=True)):
            audio = prefix + len(row)
            places = torch.tensor([NOWHERE] + [SILENCE] * (prefix - 1) + row.places)
            losses += self._links(number, places, row.links)
            begins = answers_begin(Suffix.joined(suffixes[number]))
            at, evidence_rows, via_rows, unseen_rows = [], [], [], []
            for begin, turn, suffix in zip(begins, turns, suffixes[number], strict=True):
                unseen = torch.zeros(audio, dtype=torch.bool)
                if suffix.view is not None:
                    first, last = suffix.view
                    unseen[prefix : prefix + sum(intervals[number][:first])] = True
                    unseen[prefix + sum(intervals[number][: last + 1]) :] = True
                for word, evidence in enumerate(turn.evidence):
                    tells = torch.isin(places, torch.tensor(evidence)) & ~unseen
                    if tells.any():  # not where a window ends before the word does
                        at.append(audio + begin + word - 1)  # here it is predicted
                        evidence_rows.append(tells)
                        leads = torch.isin(places, torch.tensor(turn.via if not word else [])) & ~unseen
                        via_rows.append(leads if leads.any() else tells)
                        unseen_rows.append(unseen)
            if not at:
                continue
            unseen = torch.stack(unseen_rows)
            for layer in self.layers:
                looked_for = torch.stack(via_rows if layer < self.layers[-1] else evidence_rows)
                losses.append(self._missed(layer, number, at, looked_for, unseen))
        missed = torch.cat(losses)
        return missed.sum() / max(1, len(missed) - 1)

    def _links(self, number: int, places: Tensor, links: Mapping[int, int]) -> list[Tensor]:
        """What the first layer without RoPE misses at the frames of linked words: the earlier word that each is linked
        to."""
        at = torch.isin(places, torch.tensor(list(links), dtype=torch.long)).nonzero()[:, 0]
        before = torch.tensor([links[place] for place in places[at].tolist()], dtype=torch.long)
        evidence = places == before[:, None]
        unseen = torch.arange(len(places)) > at[:, None]
        heard = evidence.any(1)
        return [self._missed(self.layers[0], number, at[heard], evidence[heard], unseen[heard])]

    def _missed(self, layer: int, number: int, at: Sequence[int] | Tensor, evidence: Tensor, unseen: Tensor) -> Tensor:
        """-log(attention on `evidence` [N, T], of all that isn't `unseen` [N, T]) of the first head at positions `at`
        [N] of a row; [N]."""
        queries = self.seen[layer, "q_proj"][number, at, : self.head].float()
        keys = self.seen[layer, "k_proj"][number, : evidence.shape[1], : self.head].float()
        scores = (queries @ keys.T * self.head**-0.5).masked_fill(unseen, -math.inf)
        return -scores.log_softmax(-1).masked_fill(~evidence, -math.inf).logsumexp(-1)


def answers_begin(suffix: Suffix) -> list[int]:
    """Where each answer of a dialogue begins in the suffix's ids."""
    labelled = [label != IGNORE for label in suffix.labels]
    return [i for i, (before, now) in enumerate(zip([False, *labelled], labelled, strict=False)) if now and not before]
