"""Bad inputs, manifests: fields that are missing, out of range or of another type, texts, questions, and files."""

from __future__ import annotations

import copy
import gzip
import json
import math
from collections.abc import Callable
from typing import Any

from experiments.drills.cases import Case
from experiments.drills.trial import Corrupt, Trial


def cut(**fields: Any) -> Corrupt:
    """Fields of the corrupted session's cut."""
    return lambda trial: trial.cut.update(fields)


def supervision(number: int, **fields: Any) -> Corrupt:
    """Fields of one of its supervisions."""
    return lambda trial: trial.supervisions[number].update(fields)


def text(value: Any) -> Corrupt:
    """The text of its first supervision."""
    return supervision(0, text=value)


def cut_without(field: str) -> Corrupt:
    return lambda trial: trial.cut.pop(field)


def supervision_without(field: str) -> Corrupt:
    return lambda trial: trial.supervisions[0].pop(field)


def recording_without(field: str) -> Corrupt:
    return lambda trial: trial.cut["recording"].pop(field)


def custom(tasks: dict[str, float], **fields: Any) -> Corrupt:
    """Fields of the cut's custom data; the stage trains these tasks."""

    def corrupt(trial: Trial) -> None:
        trial.cut["custom"].update(fields)
        trial.config["data"]["tasks"] = tasks

    return corrupt


def question(tasks: dict[str, float], **fields: Any) -> Corrupt:
    """Fields of its question, None: taken out."""

    def corrupt(trial: Trial) -> None:
        asked = trial.cut["custom"]["questions"][0]
        asked.update(fields)
        for field in [field for field, value in fields.items() if value is None]:
            del asked[field]
        trial.config["data"]["tasks"] = tasks

    return corrupt


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def lines(change: Callable[[bytes], bytes]) -> Corrupt:
    """The training manifest's bytes are changed."""

    def late(trial: Trial) -> None:
        path = trial.manifest("train")
        path.write_bytes(change(path.read_bytes()))

    return lambda trial: trial.late.append(late)


def compressed(pack: Callable[[bytes], bytes]) -> Corrupt:
    """The training manifest is a .gz that `pack` makes."""

    def late(trial: Trial) -> None:
        path = trial.manifest("train").with_suffix(".jsonl.gz")
        path.write_bytes(pack(trial.manifest("train").read_bytes()))
        trial.flags += ["--data.corpus.init_args.train", str(path)]

    return lambda trial: trial.late.append(late)


def no_texts(trial: Trial) -> None:
    for one in trial.train:
        for supervised in one["supervisions"]:
            del supervised["text"]


def long_text(trial: Trial) -> None:
    """100 kB of text; the run may take 4 GiB, less than a training on it would."""
    text("tone " * 20_000)(trial)
    trial.memory_bytes = 4 << 30


def marked_text(trial: Trial) -> None:
    text("[3] tone [0] one")(trial)
    trial.config["data"]["transcript"] = {"class_path": "Timestamps", "init_args": {"step_seconds": 0.2}}


def twice(trial: Trial) -> None:
    trial.train[2]["id"] = "train1"


def same_recording(trial: Trial) -> None:
    trial.dev[0]["recording"] = copy.deepcopy(trial.train[0]["recording"])


def same_file(trial: Trial) -> None:
    trial.dev[0]["recording"]["sources"] = copy.deepcopy(trial.train[0]["recording"]["sources"])


def unknown_transform(trial: Trial) -> None:
    trial.cut["recording"]["transforms"] = [{"name": "Nonsense", "kwargs": {}}]


def dev_manifest(path: Callable[[Trial], str]) -> Corrupt:
    return lambda trial: trial.flags.extend(["--data.corpus.init_args.dev", path(trial)])


def supervisions_alone(whole: bytes) -> bytes:
    found = [one for line in whole.splitlines() for one in json.loads(line)["supervisions"]]
    return b"".join(json.dumps(one).encode() + b"\n" for one in found)


def long_line(whole: bytes) -> bytes:
    note = b'"caption": "tones", "note": "' + b"x" * 30_000_000 + b'"'
    return whole.replace(b'"caption": "tones"', note, 1)


def named(what: str, corrupt: Corrupt, *names: str, **options: Any) -> Case:
    return Case(f"manifest: {what}", corrupt, names, **options)


QA, BOTH = {"qa": 1.0}, {"asr": 1.0, "qa": 1.0}
FIELDS = [
    *(named(f"cut without {field}", cut_without(field), "cuts_train") for field in ("start", "duration", "recording")),
    named("cut without type", cut_without("type"), "cuts_train"),
    named("cut without id", cut_without("id"), "cuts_train", due="either"),
    named("cut without channel", cut_without("channel"), "cuts_train", due="either"),
    named("cut without supervisions", cut_without("supervisions"), "train1"),
    *(
        named(f"supervision without {field}", supervision_without(field), "cuts_train")
        for field in ("id", "recording_id", "start", "duration")
    ),
    named("recording without sources", recording_without("sources"), "cuts_train"),
    named("recording without sampling_rate", recording_without("sampling_rate"), "cuts_train"),
    named("custom null", cut(custom=None), due="handled"),
    named("speaker null", supervision(0, speaker=None), due="handled"),
    named("channel 1 of a mono file", cut(channel=1), "train1"),
]
TIMES = [
    named("supervision starts at -1 s", supervision(0, start=-1.0, duration=1.3), "train1"),
    named("supervision starts at -1 ms", supervision(0, start=-0.001), "train1", due="handled"),
    named("cut starts at -1 s", cut(start=-1.0), "train1"),
    named("cut starts beyond its recording", cut(start=100.0), "train1"),
    named("cut of negative duration", cut(duration=-0.5), "train1"),
    named("cut of no duration", cut(duration=0.0), "train1"),
    named("NaN cut duration", cut(duration=math.nan), "train1"),
    named("infinite cut duration", cut(duration=math.inf), "train1"),
    named("duration a text", cut(duration="0.9"), "cuts_train"),
    named("start null", cut(start=None), "cuts_train"),
    named("supervision NaN start", supervision(0, start=math.nan), "train1"),
    named("supervision NaN duration", supervision(0, duration=math.nan), "train1"),
    named("supervision of negative duration", supervision(0, duration=-0.2), "train1"),
    named("supervision of no duration", supervision(0, duration=0.0), "train1", due="either"),
    named("supervision 1 ms beyond the end", supervision(1, duration=0.401), due="handled"),
    named("supervision 1 s beyond the end", supervision(1, duration=1.4), "train1-1"),
    named("overlapping supervisions", supervision(0, duration=0.7), "speak at once", due="reported"),
    named("supervisions not in time order", lambda trial: trial.supervisions.reverse(), due="handled"),
]
NAMES = [
    named("duplicate cut ids", twice, "train1", "twice"),
    named("the same cut id in train and dev", lambda trial: trial.dev[0].update(id="train1"), "train1", due="either"),
    named("duplicate supervision ids", supervision(1, id="train1-0"), "train1-0", due="either"),
    named("the same recording in train and dev", same_recording, "no measure", due="reported"),
    named("the same file under another recording id in train and dev", same_file, due="either"),
    named("a recording's transform unknown", unknown_transform, "train1"),
]
TEXTS = [
    named("empty text", text(""), "train1-0"),
    named("blank text", text(" \t\n"), "train1-0"),
    named("text null", text(None), "train", due="reported"),
    named("text missing in all", no_texts, "truth"),
    named("text a number", text(42), "cuts_train"),
    named("text a list", text(["tone", "one"]), "cuts_train"),
    named("text of 100 kB", long_text, "train1", due="either", seconds=120),
    named("text right to left", text("שלום עולם مرحبا"), due="either"),
    named("text in Chinese, tokenizer without it", text("你好世界"), due="either"),
    named("control characters in text", text("tone\x00\x1b[31mred\x07\u202e one"), due="either"),
    named("chat tokens in text", text("<|im_end|>\n<|im_start|>system"), due="either"),
    named("lone surrogate in text", text("tone \ud800 one"), "train1", due="either"),
    named("time marks in text", marked_text, due="either"),
]
QUESTIONS = [
    named("questions a text", custom(BOTH, questions="how many"), "train1"),
    named("question without answer", question(BOTH, answer=None), "train1"),
    named("answer a number", question(QA, answer=2), "train1"),
    named("question of an unknown task", question(QA, task="poem"), "train1"),
    named("caption a number", custom({"caption": 1.0}, caption=7), "train1", due="either"),
]
FILES = [
    named("a broken line", lines(lambda whole: whole.replace(b'"start"', b'"start', 1)), "cuts_train"),
    named("last line cut in two", lines(lambda whole: whole[:-60]), "cuts_train"),
    named("byte order mark", lines(lambda whole: b"\xef\xbb\xbf" + whole), due="handled"),
    named("not UTF-8", lines(lambda whole: whole.replace(b"tone one", b"t\xf6ne one")), "cuts_train"),
    named("an array instead of lines", lines(lambda whole: b"[" + b",".join(whole.splitlines()) + b"]"), due="either"),
    named("null lines", lines(lambda whole: whole + b"null\n"), "cuts_train"),
    named("blank lines", lines(lambda whole: b"\n\n" + whole + b"\n"), due="handled"),
    named("empty", lines(lambda whole: b""), "cuts_train"),
    named("supervisions instead of cuts", lines(supervisions_alone), "cuts_train"),
    named("a line of 30 MB", lines(long_line), due="handled"),
    named("gz cut short", compressed(lambda whole: half(gzip.compress(whole))), "cuts_train"),
    named("named .gz and isn't", compressed(lambda whole: whole), "cuts_train"),
    named("missing", dev_manifest(lambda trial: "gone.jsonl"), "gone.jsonl"),
    named("a folder", dev_manifest(lambda trial: str(trial.audio)), "audio"),
]
CASES = [*FIELDS, *TIMES, *NAMES, *TEXTS, *QUESTIONS, *FILES]
