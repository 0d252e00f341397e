"""Every table of the documentation: its name in the pages' markers, its records, its columns and its lines."""

from __future__ import annotations

from collections.abc import Callable

from experiments.tables import fair, measures
from experiments.tables.benchmarks import mini
from experiments.tables.markdown import MEBIBYTES, POINTS
from experiments.tables.methods import (
    FULL_KV,
    QUERY_AWARE,
    TRAINING_FREE,
    Column,
    Line,
    every_method,
    line,
    method_table,
    ratios,
)

MINI_METHODS = ("full KV", "SSTs", "mean pooling, trained alike", "uniform stride")
MINI_SHIPPED = ("shipped stage, SSTs", "shipped stage, uniform stride")
TRAININGS = ("compression_digits", "compression_digits_again")  # two trainings of the digits recipe
ASKED, VOICES = "compression_digits_asked", "fair_voices"
LONG, MINUTE, ALL = ("compression_librispeech_" + name for name in ("300s_long", "300s_minute", "all"))
LONG_BEFORE = "compression_librispeech_long"
ALIKE, ALIKE_MORE = "compression_librispeech_alike", "compression_librispeech_alike_300s_60"
POOLED, APPENDED = "mean pooling, trained", "SSTs appended"
BEST_FREE = "best of 12 training-free"
FAIR: tuple[tuple[str, fair.Task, str], ...] = (
    ("fair_digits", "asr", "Spoken digits, trained alike"),
    ("fair_read_speech", "asr", "Read speech, trained alike"),
    ("fair_voices", "qa", "Voices, trained alike"),
)
DIGIT_KINDS = {
    "first": "first",
    "after": "after the k-th",
    "last": "last",
    "times": "how many times",
    "count": "speakers",
    "speaker": "who first",
}
VOICE_KINDS = {"gender": "sex", "age": "age", "emotion": "emotion", "count": "speakers", "same": "same speaker"}

WER = [*ratios("wer", 1), *ratios("wer", 4, 8, 16, best="lowest")]
RIGHT = [*ratios("qa_accuracy", 1), *ratios("qa_accuracy", 4, 8, 16, best="highest")]
CUT = ratios("wer_cut", 1, 8, title="cut, {}x")  # hypotheses cut at 1.2 times the words of the reference
PEAK = Column("peak KV at 8x, MiB", 8, "peak_kv_bytes", MEBIBYTES)
MORE_THAN_SSTS = Column("4x minus SSTs, points", 4, "more_errors", POINTS)  # paired over sessions, WER cut
BESIDE_FULL_KV = Column("8x minus full KV, points", 8, "more_right_than_full_kv", POINTS)


def kept(file: str) -> list[Line]:
    """The KV memory that SSTs keep, prefix included; every method keeps as many tokens at a ratio."""
    return [line("KV kept by SSTs, MiB", "SSTs", file, key="kept_kv_bytes", show=MEBIBYTES, ranked=False)]


def pooled_minus_ssts(label: str, file: str) -> Line:
    """Paired difference over sessions: points of WER that trained mean pooling has more than SSTs."""
    return line(label, POOLED, file, key="more_errors", show=POINTS, ranked=False)


TABLES: dict[str, Callable[[], str]] = {
    # -- sections of docs/results.md, and of pages of docs/experiments, that stand there once their record does
    "gains": fair.once_recorded(("default", "fair_digits", "fair_read_speech"), fair.gains),
    **{name: fair.once_recorded(name, fair.fair(name, task), title) for name, task, title in FAIR},
    **{
        f"{name}_seeds": fair.once_recorded(name, fair.fair_seeds(name, task), "Trained alike, seed by seed")
        for name, task, _ in FAIR
    },
    "default": fair.once_recorded("default", fair.default, "Default stages"),
    "windows": fair.once_recorded("windows", fair.windows, "Windows side by side"),
    "windows_blocks": fair.once_recorded("windows", fair.windows_blocks),
    "mechanism_digits": fair.once_recorded(
        "mechanism_digits", fair.mechanism("mechanism_digits"), "Choices of stage 3, spoken digits"
    ),
    "mechanism_read_speech": fair.once_recorded(
        "mechanism_read_speech", fair.mechanism("mechanism_read_speech"), "Choices of stage 3, read speech"
    ),
    # -- docs/results.md
    "glance": method_table(
        "at 8x",
        [
            Column("digits: WER, %", 8, "wer", best="lowest", files=TRAININGS),
            Column("digits: questions right, %", 8, "qa_accuracy", best="highest", files=(ASKED,)),
            Column("read speech: WER, %", 8, "wer", best="lowest", files=(ALIKE,)),
        ],
        [
            line("full KV, 1x", FULL_KV, ratio=1, ranked=False),
            line("SSTs", "SSTs"),
            line("mean pooling, trained alike", POOLED),
            line(BEST_FREE, TRAINING_FREE),
            line("SnapKV that sees the question", QUERY_AWARE),
        ],
    ),
    "read_speech": method_table(
        "WER, %",
        WER,
        [
            line(FULL_KV, FULL_KV, ALIKE, ranked=False),
            line("SSTs, 650 steps", "SSTs", ALIKE),
            line("mean pooling, 650 steps", POOLED, ALIKE),
            pooled_minus_ssts("paired: mean pooling minus SSTs, points", ALIKE),
            line("SSTs, 890 steps", "SSTs", ALIKE_MORE),
            line("mean pooling, 890 steps", POOLED, MINUTE),
            line("SSTs, 3,040 steps", "SSTs", MINUTE),
            line("full KV, 200 steps more", FULL_KV, MINUTE, ranked=False),
            *kept(ALL),
        ],
    ),
    "read_speech_five_minutes": method_table(
        "WER, %",
        WER,
        [
            line("full KV, trained on up to 100 s", FULL_KV, LONG_BEFORE, ranked=False),
            line("SSTs, trained on up to 100 s", "SSTs", LONG_BEFORE),
            line("full KV, 200 steps more on up to 300 s", FULL_KV, LONG, ranked=False),
            line("SSTs, 240 steps more on up to 300 s", "SSTs", LONG),
            *kept(LONG_BEFORE),
        ],
    ),
    "exactness": measures.exactness("scheme"),
    "memory_and_flops": measures.memory_and_flops,
    "training_speed": measures.training_speed,
    # -- README.md and docs/experiments
    "digits": method_table(
        "WER, %, mean ± sd of two trainings",
        WER,
        [
            line(FULL_KV, FULL_KV, *TRAININGS, ranked=False),
            line("SSTs", "SSTs", *TRAININGS),
            line("mean pooling, trained alike", POOLED, *TRAININGS),
            line(BEST_FREE, TRAINING_FREE, *TRAININGS),
            *kept(TRAININGS[0]),
        ],
    ),
    "digits_methods": every_method(TRAININGS[0], [*WER, *CUT, PEAK], by="8x"),
    "digits_methods_again": every_method(TRAININGS[1], [*WER, *CUT, PEAK], by="8x"),
    "digits_paired": method_table(
        "pooling minus SSTs, points of WER",
        ratios("more_errors", 4, 8, 16),
        [
            *(pooled_minus_ssts(f"training {n}", file) for n, file in enumerate(TRAININGS, 1)),
            pooled_minus_ssts("with questions", ASKED),
        ],
    ),
    "digits_never_16x": method_table(
        "WER, %", ratios("wer", 2, 4, 8, 16), [line("SSTs, trained at 2x to 8x", "SSTs", "compression_digits_to8")]
    ),
    "digits_questions_methods": every_method(
        ASKED, [*RIGHT, BESIDE_FULL_KV, *ratios("wer", 1, 4, 8, 16, title="WER {}x")], by="8x"
    ),
    "digits_question_kinds": measures.kinds(ASKED, DIGIT_KINDS, 8),
    "read_speech_paired": method_table(
        "pooling minus SSTs, points of WER",
        ratios("more_errors", 4, 8, 16),
        [
            pooled_minus_ssts("650 steps each", ALIKE),
            pooled_minus_ssts("SSTs 2,800 steps, pooling 650", ALL),
            pooled_minus_ssts("SSTs 3,040 steps, pooling 890", MINUTE),
        ],
    ),
    "read_speech_before": method_table(
        "WER, %",
        WER,
        [line(name, name, ALL, ranked=name != FULL_KV) for name in (FULL_KV, "SSTs", POOLED)],
    ),
    "read_speech_by_minute": method_table(
        "WER, % in minute",
        [Column(str(minute), 1, f"wer_minute_{minute}", best="lowest") for minute in range(1, 6)],
        [
            line("full KV, before", FULL_KV, LONG_BEFORE, ratio=1),
            *(line(f"SSTs {ratio}x, before", "SSTs", LONG_BEFORE, ratio=ratio) for ratio in (4, 8, 16)),
            line("full KV, after", FULL_KV, LONG, ratio=1),
            *(line(f"SSTs {ratio}x, after", "SSTs", LONG, ratio=ratio) for ratio in (4, 8, 16)),
        ],
    ),
    "read_speech_alike_five_minutes": method_table(
        "WER, %", ratios("wer", 4, 8), [line("SSTs, 890 steps more", "SSTs", "compression_librispeech_alike_300s_300")]
    ),
    "read_speech_methods": every_method("compression_librispeech", [*WER, *CUT, MORE_THAN_SSTS, PEAK], by="8x"),
    "read_speech_evictions": every_method("compression_librispeech_evictions", [WER[2], CUT[1], PEAK], by="8x"),
    "read_speech_12hz": every_method("compression_librispeech_12hz", [*WER, *CUT, PEAK], by="8x"),
    "read_speech_980_steps": every_method("compression_librispeech_980_steps", WER, by="8x"),
    "read_speech_980_steps_long": every_method("compression_librispeech_long_980_steps", WER, by="8x"),
    "read_speech_980_steps_paired": method_table(
        "pooling minus SSTs, points of WER",
        ratios("more_errors", 4, 8, 16),
        [
            pooled_minus_ssts("12 sessions of up to a minute", "compression_librispeech_980_steps"),
            pooled_minus_ssts("11 sessions of up to five minutes", "compression_librispeech_long_980_steps"),
        ],
    ),
    "read_speech_place": method_table(
        "full KV",
        [Column("WER, %", 1, "wer")],
        [
            line(
                f"excerpts that {start}, {count} sessions of up to {length}", FULL_KV, f"compression_librispeech_{name}"
            )
            for start, count, length, name in (
                ("begin at 0", 39, "a minute", "unplaced_minute"),
                ("begin at 0", 11, "five minutes", "unplaced_long"),
                ("keep their place in the session", 12, "a minute", "placed_minute"),
                ("keep their place in the session", 11, "five minutes", "placed_long"),
            )
        ],
    ),
    "voices_methods": fair.once_recorded(VOICES, every_method(VOICES, [*RIGHT, BESIDE_FULL_KV], by="8x")),
    "voices_kinds": fair.once_recorded(VOICES, measures.kinds(VOICES, VOICE_KINDS, 8)),
    "embedded_minutes": measures.embedded_minutes,
    "ablations_all": measures.ablations(2, 4, 8),
    "ablations_900_steps": every_method(
        "compression_digits_900_steps",
        [*WER[1:], *ratios("more_errors", 4, 8, 16, title="points, {}x", show=POINTS)],
        by="8x",
    ),
    "exactness_families": measures.exactness("family"),
    "live_source": measures.live_source,
    # -- docs/benchmarks.md
    "longspeech_mini": mini("longspeech_mini", MINI_METHODS),
    "marathon_mini": mini("marathon_mini", MINI_METHODS),
    "longspeech_mini_shipped": mini("longspeech_mini", MINI_SHIPPED),
    "marathon_mini_shipped": mini("marathon_mini", MINI_SHIPPED),
    # -- experiments/trained/read_speech/README.md and docs/reliability.md
    "shipped": measures.shipped,
    "drills": measures.drills,
    # -- docs/listening.md and docs/serving.md
    "long_file": measures.long_file,
    "serving": measures.serving,
}
