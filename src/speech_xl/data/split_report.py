"""What a split's sessions can't be asked, said before training or evaluation, so that nothing is left out unnoticed."""

from __future__ import annotations

import math

from lhotse import CutSet
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from speech_xl.data.dataset import EvaluationTurns
from speech_xl.data.tasks import TaskMixture, Turn, qa_turns
from speech_xl.data.transcript import Transcript


def report_training(cuts: CutSet, mixture: TaskMixture) -> None:
    """Count the sessions that have no truth for a task. Raises ValueError for one that nothing can be asked of."""
    offered = [mixture.offers(cut) for cut in iter(cuts)]
    for task in mixture.weights:
        without = sum(task not in tasks for tasks in offered)
        if without:
            rank_zero_warn(f"data: {without} of {len(offered)} train sessions have no truth for {task}")
    if "asr" in mixture.weights:
        _report_unheard(cuts, "train", mixture.transcript)


def _report_unheard(cuts: CutSet, split: str, transcript: Transcript) -> None:
    """Say where windows ask for what begins in them and may go on behind all that they see."""
    context = None if transcript.windows is None else transcript.windows.context
    longest = 0.0 if context is None else max((transcript.longest(cut) for cut in iter(cuts)), default=0.0)
    if context is not None and longest > context:
        words = "" if transcript.by_words else "; with the times of words (words: true) little is needed"
        rank_zero_warn(
            f"data: in {split} sessions an utterance, or the time from a word to the next, lasts up to {longest:.1f} "
            f"s, and a window sees {context:g} s of audio behind itself: the end of what begins last in it may not be "
            "heard. Set "
            f"data.transcript.init_args.windows.context to {math.ceil(longest)} or to null, or windows to null{words}"
        )


def report_evaluation(cuts: CutSet, split: str, evaluation: EvaluationTurns, corpus: str) -> None:
    """Say what is not asked. Raises ValueError where nothing is, or dev has nothing to choose checkpoints by."""
    tasks = ", ".join(evaluation.tasks)
    asked = [evaluation(cut) for cut in iter(cuts)]
    turns = [len(some) for some in asked]
    if not sum(turns):
        raise ValueError(f"corpus {corpus}: no {split} session has truth for eval_tasks {tasks}; name other tasks")
    if 0 in turns:
        silent = f"{turns.count(0)} of {len(turns)} {split} sessions"
        rank_zero_warn(f"data: {silent} have no truth for eval_tasks {tasks} and are asked nothing")
    if "asr" in evaluation.tasks:
        _report_unheard(cuts, split, evaluation.transcript)
        _report_speech([turn for some in asked for turn in some], split, evaluation.transcript, corpus)
    if "qa" in evaluation.tasks:
        known = [len(qa_turns(cut)) for cut in iter(cuts)]
        most = sum(min(n, evaluation.questions) for n in known)
        if most < sum(known):
            rank_zero_info(f"data: {most} of the {sum(known)} {split} questions are asked (eval_questions)")


def _report_speech(turns: list[Turn], split: str, transcript: Transcript, corpus: str) -> None:
    """Say which sessions have no speech, so that a truth nobody wrote down isn't taken for silence unnoticed."""
    transcripts = [turn.answer for turn in turns if turn.task == "asr"]
    silent = sum(not transcript.words(text) for text in transcripts)
    if not silent:
        return
    if silent == len(transcripts) and split == "dev" and not any(turn.task == "qa" for turn in turns):
        raise ValueError(
            f"corpus {corpus}: no dev session has speech (none has supervisions), so there is no error "
            "rate to choose checkpoints by; give dev transcripts, or ask other tasks in eval_tasks"
        )
    rank_zero_warn(
        f"data: {silent} of {len(transcripts)} {split} sessions have no supervisions, or no text in them, and are "
        "taken for sessions without speech: whatever is transcribed there is an error; where transcripts are "
        "unknown leave these sessions out, or asr out of eval_tasks"
    )
