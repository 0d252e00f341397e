"""What a cut must be before anything is trained or tested on it: times that are numbers, texts that are texts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from lhotse import Recording, SupervisionSegment
from lhotse.cut import Cut, MixedCut, MonoCut, MultiCut

from speech_xl.checks import number, whole
from speech_xl.data.channels import SHORTEST_SOUND

SLACK_SECONDS = 0.1  # what a supervision may reach beyond its cut, or into another: rounded times
END_SECONDS = 0.01  # what a cut may reach beyond its recording: rounded times
START_SECONDS = 1e-6  # what a cut may begin before its recording: sums of floating-point numbers


def cut_fault(cut: Cut) -> str | None:
    """What is wrong with a cut, with field, value and mend; None where nothing is."""
    try:
        check_cut(cut)
    except ValueError as error:
        return str(error)
    return None


def check_cut(cut: Cut) -> None:
    """Raises ValueError with field, value and mend: for times, channels, sources, texts and questions of a cut."""
    check_text("id", cut.id)
    if isinstance(cut, MixedCut):
        for place, track in enumerate(cut.tracks):
            number(f"tracks[{place}].offset", track.offset, least=0, unit="seconds")
            _check_stretch(track.cut, f"tracks[{place}].")
    else:
        _check_stretch(cut, "")
    if cut.duration < SHORTEST_SOUND:
        least = f"{SHORTEST_SOUND * 1000:.0f} ms"
        raise ValueError(f"duration {cut.duration:g} s: less than {least} hold no speech; take the cut out")
    supervisions = list(cut.supervisions)
    for one in supervisions:
        _check_supervision(one, cut.duration)
    twice = [name for name, count in Counter(one.id for one in supervisions).items() if count > 1]
    if twice and not isinstance(cut, MixedCut):  # a mixed cut may hold one recording several times
        raise ValueError(f"supervision {twice[0]} is there twice; give every supervision of a cut its own id")
    check_caption(getattr(cut, "caption", None))
    check_questions(getattr(cut, "questions", None))


def _check_stretch(cut: Any, where: str) -> None:
    """Start, duration, channel and recording of a cut or track."""
    number(f"{where}duration", cut.duration, above=0, unit="seconds")
    if not isinstance(cut, (MonoCut, MultiCut)):
        return  # silence
    number(f"{where}start", cut.start, least=-START_SECONDS, unit="seconds")
    if cut.recording is None:
        return
    _check_recording(cut.recording, f"{where}recording")
    end, length = cut.start + cut.duration, cut.recording.duration
    if end > length + END_SECONDS:
        raise ValueError(
            f"{where}start {cut.start:g} and duration {cut.duration:g} end at {end:.3f} s, beyond the recording's "
            f"{length:.3f} s; trim the cut"
        )
    channels = cut.channel if isinstance(cut.channel, list) else [cut.channel]
    there = cut.recording.channel_ids or []
    if missing := [channel for channel in channels if channel not in there]:
        raise ValueError(f"{where}channel: got {missing[0]!r}, and the recording has {there}; name one of those")


def _check_recording(recording: Recording, where: str) -> None:
    whole(f"{where}.sampling_rate", recording.sampling_rate, least=1)
    whole(f"{where}.num_samples", recording.num_samples, least=1)
    number(f"{where}.duration", recording.duration, above=0, unit="seconds")
    if not recording.sources:
        raise ValueError(f"{where}.sources: got none; name the audio file")
    for source in recording.sources:
        # lhotse hands these to a shell: a manifest from somebody else could run whatever its author likes.
        if source.type == "command" or (isinstance(source.source, str) and source.source.startswith("pipe:")):
            raise ValueError(
                f"{where}.sources: {source.source!r} is a command, which isn't run; write its audio as a file"
            )


def _check_supervision(one: SupervisionSegment, duration: float) -> None:
    check_text("supervision id", one.id)
    where = f"supervision {one.id}"
    number(f"{where}: start", one.start, unit="seconds")
    number(f"{where}: duration", one.duration, least=0, unit="seconds")
    if one.start < -SLACK_SECONDS or one.end > duration + SLACK_SECONDS:
        raise ValueError(
            f"{where}, {one.start:.2f} to {one.end:.2f} s, reaches beyond the cut's {duration:.2f} s; trim it, or let "
            "the cut be longer"
        )
    if one.text is None:
        return
    check_text(f"{where}: text", one.text, blank=True)
    if not one.text.strip():
        raise ValueError(f"{where} has an empty text; write what is said there, or take the supervision out")


def check_text(key: str, value: Any, blank: bool = False) -> None:
    """Raises ValueError where a value is no text, is empty (unless it may be `blank`), or can't be written as UTF-8."""
    if not isinstance(value, str) or not (blank or value.strip()):
        raise ValueError(f"{key}: got {value!r}; give a text{'' if blank else ' that is not empty'}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        bad = value[error.start]
        raise ValueError(f"{key}: got {bad!r} at place {error.start}, half of a surrogate pair; take it out") from error


def check_caption(caption: Any) -> None:
    """Raises ValueError where a caption is neither null nor a text."""
    if caption is not None:
        check_text("custom['caption']", caption, blank=True)


def check_questions(questions: Any) -> None:
    """Raises ValueError where questions are neither null nor a list of {"task": "qa", "question", "answer", "kind"}."""
    if questions is None:
        return
    if not isinstance(questions, (list, tuple)):
        raise ValueError(
            f"custom['questions']: got {questions!r}; give a list of objects with task 'qa', a question and an answer"
        )
    for entry in questions:
        texts = isinstance(entry, dict) and all(
            isinstance(entry.get(key), str) and entry[key].strip() for key in ("question", "answer")
        )
        if not isinstance(entry, dict) or not texts or entry.get("task", "qa") != "qa":
            raise ValueError(
                f"bad entry {entry!r} in custom['questions']; it needs task 'qa', a question and an answer (texts that "
                "are not empty)"
            )
        for key in ("question", "answer", "kind"):
            check_text(f"custom['questions']: {key}", entry.get(key, ""), blank=True)
