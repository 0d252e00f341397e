"""LongSpeech ASR: WER of most languages, CER of Chinese, Japanese and Korean, CER of all, by each profile's rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from speech_xl.evaluation import normaliser
from speech_xl.evaluation.benchmarks import normalisers
from speech_xl.evaluation.benchmarks.answers import Failed, counted, failed_note, language_of
from speech_xl.evaluation.benchmarks.error_rates import Units, characters_of, error_rate_score, in_cjk, words_of
from speech_xl.evaluation.benchmarks.profile import Judgements, Score, TaskScorer
from speech_xl.evaluation.prediction import Prediction

NON_CJK_WER = "non-CJK WER, %"
CJK_CER = "CJK CER, %"
OVERALL_CER = "overall CER, %"
WER = "WER, %"


@dataclass(frozen=True)
class AsrRule:
    """How a profile counts transcripts.

    words       units of rows that are not CJK
    characters  units of CJK rows, and of all rows in the overall CER
    cjk         whether a row is CJK
    failed      what becomes of failed answers
    note        normaliser and units in words
    """

    words: Units
    characters: Units
    cjk: Callable[[Prediction], bool]
    failed: Failed
    note: str


def in_bare_cjk(prediction: Prediction) -> bool:
    """Whether the language is exactly zh, ja or ko: "zh-CN" is not."""
    return language_of(prediction) in ("zh", "ja", "ko")


PAPER_WORDS = AsrRule(
    words_of(normalisers.without_punctuation),
    characters_of(normalisers.without_punctuation),
    in_cjk,
    "empty",
    "normaliser: NFKC, lower case, punctuation and symbols out but apostrophes inside words; CJK by language code; "
    "CER without spaces; corpus averages. The paper's own normaliser is not published",
)
H1 = AsrRule(
    words_of(normalisers.nfkc_lower),
    characters_of(normalisers.nfkc_lower),
    in_cjk,
    "left out",
    "normaliser: NFKC, lower case, punctuation kept, so it lies above every normalised WER; CJK by language code; "
    "CER without spaces; corpus averages",
)
H2 = AsrRule(
    words_of(normalisers.word_characters),
    characters_of(normalisers.word_characters),
    in_bare_cjk,
    "empty",
    "normaliser: NFKC, lower case, whatever is neither \\w nor a space is a space; CJK are exactly zh, ja and ko, so "
    "zh-CN is counted in words; CER without spaces; corpus averages",
)
STRICT = AsrRule(
    lambda text, language: normaliser.units(text, language, timestamps=False),
    lambda text, language: normaliser.characters(text, language, timestamps=False),
    in_cjk,
    "empty",
    f"normaliser: this suite's, version {normaliser.NORMALISER_VERSION}; Thai and other scripts without spaces count "
    "by letters in the WER; CJK by language code; CER without spaces; corpus averages",
)


def transcripts(rule: AsrRule) -> TaskScorer:
    """WER of rows that are not CJK, CER of CJK rows, CER of all rows."""

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, rule.failed)
        cjk = [one for one in answers if rule.cjk(one)]
        others = [one for one in answers if not rule.cjk(one)]
        about = {"left_out": left_out, "note": f"{rule.note}; {failed_note(rule.failed)}"}
        return [
            error_rate_score(NON_CJK_WER, others, rule.words, main=True, **about),
            error_rate_score(CJK_CER, cjk, rule.characters, **about),
            error_rate_score(OVERALL_CER, answers, rule.characters, **about),
        ]

    return TaskScorer(score)


def authors_transcripts() -> TaskScorer:
    """One WER over all languages: Chinese in characters, all else in words, Japanese and Korean too."""
    note = (
        "normaliser: Whisper's English one for en ({spellings}), Whisper's basic one for other languages, punctuation "
        "out of Chinese, whose numbers are not written out; Chinese by characters, Japanese and Korean by words; one "
        f"corpus figure over all languages; {failed_note('left out')}"
    )

    def score(predictions: Sequence[Prediction], judgements: Judgements) -> list[Score]:
        answers, left_out = counted(predictions, "left out")
        about = note.format(spellings=normalisers.spelling_map()[1])
        return [error_rate_score(WER, answers, authors_units, main=True, left_out=left_out, note=about)]

    return TaskScorer(score)


def authors_units(text: str, language: str | None) -> list[str]:
    """Characters where the language has "zh" in it, else words."""
    words = normalisers.by_language(text, language).split()
    return list("".join(words)) if language is not None and "zh" in language else words
