"""SSTTokenCTC: an auxiliary loss by which an SST says what is spoken in its frames. docs/extensions/ctc.md."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speech_xl.checks import number, whole
from speech_xl.data.batch import SpeechBatch
from speech_xl.extensions.ctc.token_ctc import mean_ctc
from speech_xl.extensions.ctc.token_scores import TokenScores
from speech_xl.model import SpeechLLM
from speech_xl.model.positions import Kind
from speech_xl.model.speech import TokenStates
from speech_xl.phases.extension import AuxiliaryLoss, PhaseExtension


class SSTTokenCTC(PhaseExtension):
    """CTC over what a session's SSTs say in order: a linear map reads `slots` tokens or blanks from each.

    It reads the SSTs' final hidden states and scores them against the LLM's embeddings of the tokens that occur in the
    batch. Targets are the supervisions' texts. Utterances whose frames are compressed in part or not at all are left
    out with their SSTs, and so are stretches of them with more tokens than slots; `train/sst_ctc_share` is the share of
    the text's tokens that is left. For training alone, in a phase with SSTs: add ``extensions.SSTTokenCTC.*`` to
    `trainable`.

    weight  of the loss, a mean over target tokens
    slots   tokens that an SST may say; as many as are spoken in the frames it stands for
    """

    reads_states = True

    def __init__(self, weight: float = 0.1, slots: int = 4) -> None:
        super().__init__()
        self.weight = number("SSTTokenCTC.weight", weight, least=0)
        self.slots = whole("SSTTokenCTC.slots", slots, least=1)

    def build(self, backbone: SpeechLLM) -> None:
        self.read = nn.Linear(backbone.llm.width, self.slots * backbone.llm.width)
        self.scores = TokenScores(backbone.llm.width)

    def states_loss(self, backbone: SpeechLLM, batch: SpeechBatch, states: TokenStates, step: int) -> AuxiliaryLoss:
        if backbone.sst is None:
            raise ValueError("model.extensions: SSTTokenCTC reads SSTs, and this phase has none; take it out")
        stretches, tokens = stretches_of(backbone, batch, states)
        ssts = states.hidden[states.layout.kind == Kind.SST].to(self.read.weight.dtype)
        said = self.read(ssts).unflatten(1, (self.slots, -1))  # [S, slots, D]
        fitting = [one for one in stretches if slots_needed(one.targets) <= self.slots * len(one.ssts)]
        read = sum(len(one.targets) for one in fitting)
        logged: dict[str, Tensor | float] = {"sst_ctc_share": read / tokens if tokens else 1.0}
        if not fitting:
            unused = sum((p.sum() for p in self.parameters()), said.sum())  # every rank has a gradient for them
            return AuxiliaryLoss(0.0 * unused, logged, len(batch))
        targets = [torch.tensor(one.targets, device=said.device) for one in fitting]
        vocabulary = torch.unique(torch.cat(targets))
        rows = [said[torch.tensor(one.ssts, device=said.device)].flatten(0, 1) for one in fitting]
        logits = self.scores(pad_sequence(rows, batch_first=True), backbone.llm.embedding.weight[vocabulary])
        lengths = torch.tensor([len(row) for row in rows], device=said.device)
        mean = mean_ctc(logits, lengths, [torch.searchsorted(vocabulary, t) for t in targets], len(vocabulary))
        return AuxiliaryLoss(self.weight * mean, logged | {"sst_ctc": mean.detach()}, len(batch))


@dataclass
class Stretch:
    """Utterances that follow each other, all of whose frames are compressed: which of the batch's SSTs stand for them,
    in order, and their tokens."""

    ssts: list[int]
    targets: list[int]


def stretches_of(backbone: SpeechLLM, batch: SpeechBatch, states: TokenStates) -> tuple[list[Stretch], int]:
    """What can be read from a batch's SSTs, and how many tokens its utterances have in all."""
    found, tokens, first = [], 0, 0
    text_ids, rate, layout = backbone.llm.prompt.text_ids, backbone.frame_rate, states.layout
    for row, cut in enumerate(batch.cuts):
        sst = (layout.kind[row] == Kind.SST).cpu().numpy()
        centers, sizes = (x[row].cpu().numpy()[sst] for x in (layout.source, layout.group_size))
        ordered = sorted(cut.supervisions, key=lambda s: s.start)
        spoken = [(s.start * rate, s.end * rate, s.text) for s in ordered if s.text]
        for ssts, texts in compressed_runs(spoken, centers, sizes):
            found.append(Stretch([first + at for at in ssts], text_ids(" ".join(texts))))
        tokens += len(text_ids(" ".join(text for *_, text in spoken)))
        first += int(sst.sum())
    return found, tokens


def compressed_runs(
    spoken: Sequence[tuple[float, float, str]], centers: np.ndarray, sizes: np.ndarray
) -> list[tuple[list[int], list[str]]]:
    """Runs of utterances (start and end in frames, text; by start) without an uncompressed frame in or between them:
    the SSTs that lie between the utterances around the run, and its texts.

    centers, sizes [S]: of the groups of frames that SSTs stand for, as `Groups` has them.
    """
    begins = centers - (sizes - 1) // 2
    covered = np.zeros(int(max([0, *(begins + sizes)])), dtype=bool)
    for begin, size in zip(begins, sizes, strict=True):
        covered[begin : begin + size] = True

    def compressed(start: float, end: float) -> bool:
        # The last frame may be a started one, that the speech's frames don't have.
        part = covered[int(start) : max(int(start) + 1, round(end))]
        return len(part) > 0 and bool(part.all()) and round(end) <= len(covered) + 1

    runs: list[tuple[list[int], list[str]]] = []
    run: list[int] = []  # numbers of utterances
    for at in range(len(spoken) + 1):
        if at < len(spoken) and compressed(spoken[run[0] if run else at][0], spoken[at][1]):
            run.append(at)
            continue
        if run:
            low = spoken[run[0] - 1][1] if run[0] else -1.0
            high = spoken[run[-1] + 1][0] if run[-1] + 1 < len(spoken) else float("inf")
            ssts = [i for i, center in enumerate(centers.tolist()) if low <= center < high]
            runs.append((ssts, [spoken[i][2] for i in run]))
        alone = at < len(spoken) and compressed(spoken[at][0], spoken[at][1])
        run = [at] if alone else []
    return runs


def slots_needed(targets: Sequence[int]) -> int:
    """Emissions that CTC needs for a target: its symbols, and a blank between two that are the same."""
    return len(targets) + sum(a == b for a, b in zip(targets, targets[1:], strict=False))
