"""Cuts whose times are no numbers, whose texts are no texts, or that name commands are refused by field and value."""

import json
import math

import pytest

from speech_xl.data.manifests import ManifestCorpus
from tests.data.test_manifests import cut, paths  # noqa: F401  (a fixture)

NO_TIMES = [math.nan, math.inf, -math.inf, None, "1.0", True, [1]]
NO_TEXTS = [12, 1.5, ["a"], {"a": 1}, True, "half \ud800 pair"]


def faulty(tmp_path, change) -> str:
    """What ManifestCorpus says of a test split whose second cut is otherwise, in a file with a blank line."""
    good, bad = cut(tmp_path, "test-7").to_dict(), cut(tmp_path, "test-8").to_dict()
    bad["custom"] = {"caption": "one", "questions": [{"task": "qa", "question": "how", "answer": "so", "kind": "k"}]}
    change(bad)
    path = tmp_path / "cuts.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{json.dumps(bad)}\n")
    corpus = ManifestCorpus(train=str(path), dev=str(path), test=str(path))
    with pytest.raises(ValueError) as raised:
        corpus.cuts("test")
    message = str(raised.value)
    assert f"ManifestCorpus: test: {path}:3: " in message
    return message


@pytest.mark.parametrize("field", ["start", "duration"])
def test_times_of_a_cut(tmp_path, field):
    for value in [*NO_TIMES, -1.0]:
        said = faulty(tmp_path, lambda c, value=value: c.update({field: value}))
        assert f"{field}: got {value!r}" in said or "cannot be read" in said, said
        assert "test-8" in said
    assert "duration: got 0" in faulty(tmp_path, lambda c: c.update(duration=0))
    assert "beyond the recording's 1.000 s; trim" in faulty(tmp_path, lambda c: c.update(start=0.5))


@pytest.mark.parametrize("field", ["start", "duration"])
def test_times_of_a_supervision(tmp_path, field):
    for value in [*NO_TIMES, -1.5]:
        said = faulty(tmp_path, lambda c, value=value: c["supervisions"][0].update({field: value}))
        assert "test-8" in said
        assert f"{field}: got {value!r}" in said or "reaches beyond" in said or "cannot be read" in said, said


def test_times_of_a_recording(tmp_path):
    for field in ("sampling_rate", "num_samples", "duration"):
        for value in [*NO_TIMES, 0, -1]:
            said = faulty(tmp_path, lambda c, field=field, value=value: c["recording"].update({field: value}))
            assert f"recording.{field}: got {value!r}" in said or "cannot be read" in said, said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, v: c["supervisions"][0].update(text=v), "supervision test-8: text: got"),
        (lambda c, v: c["custom"].update(caption=v), "custom['caption']: got"),
        (lambda c, v: c["custom"]["questions"][0].update(answer=v), "custom['questions']"),
        (lambda c, v: c["custom"]["questions"][0].update(question=v), "custom['questions']"),
        (lambda c, v: c["custom"]["questions"][0].update(kind=v), "custom['questions']: kind: got"),
        (lambda c, v: c["supervisions"][0].update(id=v), "supervision id: got"),
    ],
)
def test_texts(tmp_path, change, said):
    for value in NO_TEXTS:
        assert said in faulty(tmp_path, lambda c, value=value: change(c, value))


@pytest.mark.parametrize("questions", ["how many", 3, {"question": "a", "answer": "b"}, ["how many"], [None], [[]]])
def test_questions_are_a_list_of_objects(tmp_path, questions):
    assert "custom['questions']" in faulty(tmp_path, lambda c: c["custom"].update(questions=questions))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(channel=1), "channel: got 1, and the recording has [0]"),
        (lambda c: c["supervisions"].append(c["supervisions"][0]), "supervision test-8 is there twice"),
        (lambda c: c["recording"].update(sources=[]), "recording.sources: got none"),
        (lambda c: c["recording"].update(transforms=[{"name": "Nonsense", "kwargs": {}}]), "test-8 cannot be read"),
        (lambda c: c["recording"]["sources"][0].update(type="command", source="touch x"), "'touch x' is a command"),
        (lambda c: c["recording"]["sources"][0].update(source="pipe:touch x"), "'pipe:touch x' is a command"),
        (lambda c: c.pop("start"), "test-8 cannot be read"),
        (lambda c: c["supervisions"][0].pop("id"), "test-8 cannot be read"),
        (lambda c: c["recording"].pop("sources"), "test-8 cannot be read"),
        (lambda c: c.update(type="Nonsense"), "test-8 cannot be read"),
    ],
)
def test_what_else_a_cut_may_not_be(tmp_path, change, said):
    assert said in faulty(tmp_path, change)


def test_rounded_times_are_taken(tmp_path):
    item = cut(tmp_path, "test-8").to_dict()
    item.update(duration=1.005)
    item["supervisions"][0].update(start=-0.001, duration=1.01)
    path = tmp_path / "cuts.jsonl"
    path.write_text(json.dumps(item))
    assert len(ManifestCorpus(str(path), str(path), str(path)).cuts("dev")) == 1


@pytest.mark.parametrize("compressed", [False, True])
def test_a_byte_order_mark_and_blank_lines_are_fine(tmp_path, compressed):
    import gzip

    lines = [json.dumps(cut(tmp_path, f"a-{n}").to_dict()) for n in range(2)]
    content = ("\ufeff\n\n" + "\r\n  \n\n".join(lines) + "\n\n").encode()
    path = tmp_path / ("cuts.jsonl.gz" if compressed else "cuts.jsonl")
    path.write_bytes(gzip.compress(content) if compressed else content)
    assert [c.id for c in ManifestCorpus(str(path), str(path), str(path)).cuts("train")] == ["a-0", "a-1"]


@pytest.mark.parametrize(
    ("content", "line"),
    [(b'{"id": "a", \n', 1), (b"\n\nnull\n", 3), (b'\n{"id": "\xf6"}\n', 2), (b"[1]\n", 1), (b"[" * 100_000, 1)],
)
def test_a_line_that_is_no_cut_is_named(tmp_path, content, line):
    path = tmp_path / "cuts.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"train: {path}:{line} cannot be read \(.*CutSet\.to_file"):
        ManifestCorpus(str(path), str(path), str(path)).cuts("train")


def test_any_corpus_is_held_to_it(tiny_corpus):
    """Not manifests alone: a recipe's cuts pass through the data module too."""
    from speech_xl.data.datamodule import SpeechDataModule

    corpus = tiny_corpus()
    cuts = corpus.cuts("train").to_eager()
    list(cuts)[0].supervisions[0].start = math.nan
    corpus.cuts = lambda split: cuts
    with pytest.raises(ValueError, match=r"corpus .*: train: cut .*: supervision .*: start: got nan; give a number"):
        SpeechDataModule(corpus).cuts("train")
