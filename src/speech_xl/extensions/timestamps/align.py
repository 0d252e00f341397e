"""Word times of a corpus, from the token scores of a finished stage 1:
`python -m speech_xl.extensions.timestamps.align RUN/stage1 DIR`.

An adapter that scores tokens (PosteriorAdapter) knows where each token is spoken. The likeliest path of an utterance's
own tokens through its scores says when every word begins; `data.transforms: [WordTimes]` reads what is written here.
Prints the word error rate of the likeliest token of every frame as well: what the LLM can go by.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from lhotse import MonoCut
from torch import Tensor
from tqdm import tqdm

from speech_xl.data.audio import load_audio
from speech_xl.data.corpus import SPLITS
from speech_xl.data.frame_cache import FrameCache
from speech_xl.data.transcript import ASR_INSTRUCTION
from speech_xl.evaluation.metrics import error_rate
from speech_xl.evaluation.prediction import Prediction
from speech_xl.extensions.ctc.token_scores import greedy_text
from speech_xl.extensions.timestamps.word_times import write_times
from speech_xl.model import SpeechLLM
from speech_xl.run.arguments import FORCE_HELP, device_option, device_or_default, whole_number
from speech_xl.run.command import ConfigError
from speech_xl.run.trained_stage import TrainedStage
from speech_xl.run.trust import TRUST_HELP
from speech_xl.run.user_errors import exit_on_user_error
from speech_xl.storage.files import check_writable

MARGIN_SECONDS = 0.2  # around an utterance, in which its tokens may be found as well


def first_frames(scores: Tensor, tokens: Sequence[int], blank: int) -> list[int] | None:
    """Frame at which each token begins on the likeliest CTC path (Viterbi) through log probabilities [N, V]; None where
    the frames are too few for any path."""
    states = torch.full((2 * len(tokens) + 1,), blank)
    states[1::2] = torch.tensor(tokens)
    jump = torch.zeros(len(states), dtype=torch.bool)  # from two states before: past a blank between unlike tokens
    jump[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    emitted = scores[:, states]
    best = torch.full((len(states),), -math.inf)
    best[:2] = emitted[0, :2]
    came = torch.zeros(len(scores), len(states), dtype=torch.uint8)
    for frame in range(1, len(scores)):
        from_last = torch.cat([best.new_full((1,), -math.inf), best[:-1]])
        over_blank = torch.cat([best.new_full((2,), -math.inf), best[:-2]]).where(jump, best.new_tensor(-math.inf))
        best, step = torch.stack([best, from_last, over_blank]).max(0)
        best, came[frame] = best + emitted[frame], step
    state = len(states) - 1 if len(tokens) == 0 or best[-1] >= best[-2] else len(states) - 2
    if best[state] == -math.inf:
        return None
    firsts = [0] * len(tokens)
    for frame in range(len(scores) - 1, -1, -1):
        if state % 2:
            firsts[state // 2] = frame
        state -= int(came[frame, state])
    return firsts


def word_starts(model: SpeechLLM, cut: MonoCut, scores: Tensor) -> dict[str, list[float]]:
    """Supervision id -> seconds after its start at which each word begins. scores: log probabilities [N, V + 1].

    Supervisions that have no path are left out.
    """
    rate = model.frame_rate
    found = {}
    for supervision in cut.supervisions:
        words = [model.llm.prompt.text_ids(f" {w}") for w in (supervision.text or "").split()]
        first = max(0, math.floor((supervision.start - MARGIN_SECONDS) * rate))
        last = min(len(scores), math.ceil((supervision.end + MARGIN_SECONDS) * rate))
        frames = first_frames(scores[first:last], [t for word in words for t in word], scores.shape[1] - 1)
        if frames is None or not words:
            continue
        first_tokens = [sum(len(word) for word in words[:place]) for place in range(len(words))]
        found[supervision.id] = [
            max(0.0, (first + frames[first_token]) / rate - supervision.start) for first_token in first_tokens
        ]
    return found


@torch.no_grad()
def align(
    folder: Path,
    out: Path,
    splits: Sequence[str] = SPLITS,
    sessions: int | None = None,
    device: str = "cpu",
    trust_remote_code: bool = False,
    force: bool = False,
) -> None:
    """Write the word times of the corpus that the stage in `folder` was trained on.

    sessions           at most, of a split
    trust_remote_code  run code that comes with the stage's encoder or LLM
    force              use the weights even where the configuration isn't theirs
    """
    stage = TrainedStage.of(folder, trust_remote_code, force)
    check_writable(out, "out")
    model = stage.model(device)
    if not model.adapter.scores_tokens:
        raise ConfigError(f"{folder}: its adapter has no token scores to align by; use a PosteriorAdapter's stage 1")
    data = stage.data()
    kept = FrameCache.of(model.encoder, data.cache_dir)
    for split in splits:
        times: dict[str, list[float]] = {}
        without, records = 0, []
        for cut in tqdm(list(data.corpus.cuts(split))[:sessions], desc=f"aligning {split}", unit="session"):
            frames = kept.load_or_store(cut, lambda one: model.encoder.encode([load_audio(one).to(device)])[0])
            scores = model.adapt([frames]).scores
            assert scores is not None
            starts = word_starts(model, cut, scores[0].float().log_softmax(-1).cpu())  # thousands of small steps
            reference = " ".join(s.text for s in sorted(cut.supervisions, key=lambda s: s.start) if s.text)
            hypothesis = greedy_text(model.llm.prompt.tokenizer, scores[0])
            records.append(
                Prediction(
                    cut_id=cut.id,
                    task="asr",
                    ratio=1,
                    instruction=ASR_INSTRUCTION,
                    reference=reference,
                    hypothesis=hypothesis,
                )
            )
            without += len(cut.supervisions) - len(starts)
            times |= starts
        written = write_times(out, split, times)
        print(f"{written}: {len(times)} utterances, {without} left out that are too short for their words")
        rate = error_rate(records)
        print(f"{split}: the likeliest tokens have {rate.value:.1%} WER [{rate.low:.1%}, {rate.high:.1%}]")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of a finished stage 1 with a PosteriorAdapter")
    parser.add_argument("out", type=Path, help="folder to write train.jsonl, dev.jsonl and test.jsonl to")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="(all)")
    parser.add_argument(
        "--sessions", type=whole_number(), metavar="N", help="the first N of each split alone, to try it out"
    )
    device_option(parser)
    parser.add_argument("--trust_remote_code", action="store_true", help=TRUST_HELP)
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    given = parser.parse_args(argv)
    with exit_on_user_error():
        device = device_or_default(given.device)
        align(given.folder, given.out, given.splits, given.sessions, device, given.trust_remote_code, given.force)


if __name__ == "__main__":
    main()
