"""Segments: what was said when, from a transcript with timestamps, and as subtitles (SRT, WebVTT)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from speech_xl.data.transcript import Transcript

# A subtitle of timed words ends where nobody speaks for so long, and is no longer than is read at a glance.
PAUSE_SECONDS, LONGEST_SECONDS, LONGEST_CHARACTERS = 0.6, 7.0, 84
WORD_SECONDS = 0.4  # that a word takes: transcripts say when words begin, not when they end
AFTER_SECONDS = 0.5  # that a segment stays after its last word, at most


@dataclass(frozen=True)
class Segment:
    """Words that belong together. They begin at `start_seconds`, as the transcript says; `end_seconds` is where the
    next segment begins, or earlier, where so many words should be over."""

    start_seconds: float
    end_seconds: float
    text: str


def segments_of(transcript: Transcript, text: str, offset: float, end: float) -> list[Segment]:
    """Segments of the transcript of a stretch of audio, which begins at second `offset` and is over at `end`.

    Timed words are put together until somebody pauses, or a subtitle is full; timed utterances are segments as they
    are; a text without timestamps is one segment. Times never fall, and lie within the stretch.
    """
    if transcript.step_seconds is None:
        return [Segment(offset, end, " ".join(text.split()))] if text.strip() else []
    pieces = rising(transcript.timed(text), offset, end)
    groups: list[list[tuple[float, str]]] = []
    for piece in pieces:
        if groups and _belongs(groups[-1], piece, transcript.by_words):
            groups[-1].append(piece)
        else:
            groups.append([piece])
    borders = [*(group[0][0] for group in groups[1:]), end]  # without groups, one too many
    return [_segment(group, border) for group, border in zip(groups, borders, strict=False)]


def words_of(transcript: Transcript, text: str, offset: float, end: float) -> list[tuple[float, str]]:
    """(second, word) for each word, where the transcript times words; words between two timestamps have the first."""
    if not transcript.by_words:
        return []
    return [(start, word) for start, said in rising(transcript.timed(text), offset, end) for word in said.split()]


def rising(pieces: Iterable[tuple[float, str]], offset: float, end: float) -> list[tuple[float, str]]:
    """Timed pieces of a stretch of audio in the seconds of the whole, none before the one before it or after `end`."""
    found, last = [], offset
    for second, words in pieces:
        last = min(max(last, offset + second), end)
        found.append((round(last, 3), " ".join(words.split())))
    return found


def _belongs(group: Sequence[tuple[float, str]], piece: tuple[float, str], by_words: bool) -> bool:
    """Whether a piece goes on with the segment before it."""
    start, words = piece
    before, said = group[-1]
    if start == before:
        return True
    length = sum(len(one) + 1 for _, one in group) + len(words)
    pause = start - before - WORD_SECONDS * len(said.split())
    return (
        by_words and pause <= PAUSE_SECONDS and start - group[0][0] < LONGEST_SECONDS and length <= LONGEST_CHARACTERS
    )


def _segment(group: Sequence[tuple[float, str]], border: float) -> Segment:
    last, said = group[-1]
    end = min(border, last + WORD_SECONDS * len(said.split()) + AFTER_SECONDS)
    return Segment(group[0][0], round(max(end, group[0][0]), 3), " ".join(words for _, words in group))


# Subtitles


def as_srt(segments: Iterable[Segment]) -> str:
    """SubRip: numbered, a blank line after each. What would end a subtitle's text, or begin another, is taken out."""
    lines = []
    for number, (start, end, text) in enumerate(_cues(segments), start=1):
        lines.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text.replace('-->', '->')}\n")
    return "\n".join(lines)


def as_vtt(segments: Iterable[Segment]) -> str:
    """WebVTT, with the characters escaped that would be markup."""
    lines = ["WEBVTT\n"]
    for start, end, text in _cues(segments):
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        lines.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{escaped}\n")
    return "\n".join(lines)


def _cues(segments: Iterable[Segment]) -> Iterable[tuple[int, int, str]]:
    """(start, end, text) with times in milliseconds: a text on one line, shown for a millisecond at least."""
    for segment in segments:
        if text := " ".join(segment.text.split()):
            start = round(segment.start_seconds * 1000)
            yield start, max(round(segment.end_seconds * 1000), start + 1), text


def _clock(milliseconds: int, point: str) -> str:
    """Hours, minutes, seconds and milliseconds, as 01:02:03,004."""
    seconds, rest = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}{point}{rest:03}"
