"""SpokenDigits on a tiny made-up corpus in the published layout: splits, sessions, truth, download, damaged input."""

import logging
import math
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_recipes.spoken_digits import MEN, SpokenDigits, digit_truths, draw_turns, split_files
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns

WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SPEAKERS = ("george", "theo", "stranger")


def level(digit: int, index: int) -> float:
    """The constant level a made-up recording has, by which its digit and split are found again in a session."""
    return 0.05 * (digit + 1) + 0.002 * index


def write_recordings(folder: Path, indices, rate: int = 8000, speakers=SPEAKERS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for digit in range(10):
        for speaker in speakers:
            for index in indices:
                samples = np.full(rate // 10 + digit * rate // 200, level(digit, index), dtype=np.float32)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", samples, rate)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_recordings(tmp_path / "existing" / "recordings", (0, 7, 12, 20))
    return tmp_path / "existing"


def make(tmp_path: Path, corpus: Path, **kwargs) -> SpokenDigits:
    sizes = {"train_sessions": 12, "dev_sessions": 3, "test_sessions": 3, "max_digits": 12}
    recipe = SpokenDigits(root=str(tmp_path / "made"), corpus_dir=str(corpus), **(sizes | kwargs))
    recipe.prepare()
    return recipe


def test_sessions_hold_the_recordings_of_their_split_at_the_times_they_say(tmp_path, corpus):
    recipe = make(tmp_path, corpus)
    for split, sessions, indices in (("train", 12, (12, 20)), ("dev", 3, (7,)), ("test", 3, (0,))):
        cuts = list(recipe.cuts(split))
        assert len(cuts) == sessions
        for cut in cuts:
            assert cut.sampling_rate == 16000 and 4 <= len(cut.supervisions) <= 12
            audio = cut.load_audio()[0]
            for supervision in cut.supervisions:
                digit = WORDS.index(supervision.text)
                assert supervision.duration == pytest.approx(0.1 + digit * 0.005)  # as at 8 kHz
                heard = audio[round((supervision.start + supervision.duration / 2) * 16000)]
                assert min(abs(heard - level(digit, index)) for index in indices) < 1e-3
                assert supervision.gender == ("M" if supervision.speaker in MEN else None)
            ends = [0.0, *(s.end for s in cut.supervisions)]
            starts = [*(s.start for s in cut.supervisions), cut.duration]
            gaps = [start - end for start, end in zip(starts, ends, strict=True)]
            assert min(gaps) >= 0.05 - 1e-4 and max(gaps) <= 0.4 + 1e-4


def test_split_where_the_published_test_part_is_missing(tmp_path, corpus):
    published = split_files(corpus / "recordings")
    write_recordings(tmp_path / "training_part", (5, 9, 10, 14, 15, 49), speakers=("theo",))
    rest = split_files(tmp_path / "training_part")

    def indices(files):
        return {int(path.stem.split("_")[2]) for _, _, path in files}

    assert {s: indices(f) for s, f in published.items()} == {"train": {12, 20}, "dev": {7}, "test": {0}}
    assert {s: indices(f) for s, f in rest.items()} == {"train": {15, 49}, "dev": {5, 9}, "test": {10, 14}}


def test_questions_and_caption_are_true(tmp_path, corpus):
    kinds = set()
    for cut in make(tmp_path, corpus).cuts("train"):
        said = asr_turn(cut).answer.split()
        speakers = {s.speaker for s in cut.supervisions}
        for turn in qa_turns(cut):
            kinds.add(turn.kind)
            words = turn.instruction.split()
            if turn.kind == "times":
                assert turn.answer == WORDS[said.count(words[4])]
            elif turn.kind == "after":
                nth = ("first", "second", "third").index(words[-2])
                place = [i for i, word in enumerate(said) if word == words[-1]][nth]
                assert turn.answer == said[place + 1]
            elif turn.kind == "count":
                assert turn.answer == WORDS[len(speakers)]
            elif turn.kind == "speaker":
                assert turn.answer == min(cut.supervisions, key=lambda s: s.start).speaker
            else:
                assert turn.answer == said[{"first": 0, "last": -1}[turn.kind]]
        who = "one speaker says" if len(speakers) == 1 else f"{WORDS[len(speakers)]} speakers say"
        assert caption_turn(cut).answer.startswith(who + " ")
    assert kinds == {"times", "after", "count", "speaker", "first", "last"}


def test_caption_counts_in_words():
    truth = digit_truths([1] * 42, ["theo"] * 42, random.Random(0), ask_count=False)
    assert truth["caption"] == "one speaker says forty two digits"
    assert not any(q["kind"] == "count" for q in truth["questions"])


def test_words_are_asked_about_with_the_words_that_tell():
    said = [WORDS[digit] for digit in (3, 7, 3, 0, 7, 7)]
    seen = {}
    for seed in range(60):
        for asked in SpokenDigits().ask(said, random.Random(seed)):
            seen[asked.instruction] = (asked.answer, asked.evidence)
    assert seen["how many times was seven said"] == ("three", [[1, 4, 5]])
    assert seen["how many times was nine said"] == ("zero", [])
    assert seen["what came after the second seven"] == ("seven", [[5]])
    assert "what came after the third seven" not in seen
    assert seen["what was the last digit"] == ("seven", [[5]])
    assert not any("speak" in question for question in seen)


def test_turns_have_every_speaker_and_the_right_length():
    for seed in range(200):
        rng = random.Random(seed)
        speakers = ["a", "b", "c", "d"][: rng.randint(1, 4)]
        length = rng.randint(len(speakers), 30)
        said = draw_turns(speakers, length, rng)
        assert len(said) == length and set(said) == set(speakers)


def test_most_sessions_are_short(tmp_path, corpus):
    cuts = make(tmp_path, corpus, train_sessions=150, max_digits=60).cuts("train")
    lengths = sorted(len(cut.supervisions) for cut in cuts)
    assert lengths[0] >= 4 and lengths[-1] > 40
    assert abs(lengths[75] - math.sqrt(4 * 61)) < 5  # the median of a log-uniform length


def test_a_session_does_not_depend_on_how_many_others_there_are(tmp_path, corpus):
    few, many = make(tmp_path, corpus, train_sessions=2), make(tmp_path, corpus, train_sessions=4)
    assert few.folder != many.folder
    for one, other in zip(few.cuts("train"), many.cuts("train"), strict=False):
        assert one.supervisions == other.supervisions and one.custom == other.custom
        assert np.array_equal(one.load_audio(), other.load_audio())
    assert make(tmp_path, corpus, train_sessions=2, seed=1).cuts("train")[0].custom != few.cuts("train")[0].custom


def test_prepare_is_idempotent_and_unfinished_work_is_done_again(tmp_path, corpus):
    recipe = make(tmp_path, corpus)
    stamps = {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    recipe.prepare()
    assert stamps == {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    (recipe.folder / "recipe.json").unlink()
    with pytest.raises(FileNotFoundError, match="not whole"):
        recipe.cuts("train")
    recipe.prepare()
    assert len(recipe.cuts("train")) == 12


def test_download(tmp_path):
    write_recordings(tmp_path / "free-spoken-digit-dataset-1.0.10" / "recordings", (0, 7, 20), speakers=("theo",))
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as packed:
        for path in (tmp_path / "free-spoken-digit-dataset-1.0.10").rglob("*"):
            packed.write(path, path.relative_to(tmp_path))
        packed.writestr("free-spoken-digit-dataset-1.0.10/README.md", "text")
    root = tmp_path / "made"
    arguments = {"root": str(root), "train_sessions": 2, "dev_sessions": 1, "test_sessions": 1}
    recipe = SpokenDigits(url=(tmp_path / "archive.zip").as_uri(), **arguments)
    recipe.prepare()
    assert {s.speaker for cut in recipe.cuts("train") for s in cut.supervisions} == {"theo"}
    assert sorted(p.name for p in root.iterdir()) == ["prepare.lock", "recordings", recipe.folder.name]
    SpokenDigits(url="file:///nowhere", **arguments).prepare()  # what is there is not fetched again


def test_a_failed_download_says_what_to_do(tmp_path):
    (tmp_path / "archive.zip").write_bytes(b"<html>sorry</html>")
    for url in ("file:///nowhere", (tmp_path / "archive.zip").as_uri()):
        recipe = SpokenDigits(root=str(tmp_path / "made"), url=url)
        with pytest.raises(OSError, match="cannot download file:.*give its folder as corpus_dir"):
            recipe.prepare()
        assert not (tmp_path / "made" / "recordings").exists()


def test_folders_and_files_that_are_not_the_corpus(tmp_path, corpus, caplog):
    with pytest.raises(FileNotFoundError, match="has no recordings named like 7_jackson_32.wav"):
        make(tmp_path, tmp_path / "nowhere")
    (corpus / "recordings" / "notes.txt").write_text("x")
    with caplog.at_level(logging.WARNING):
        make(tmp_path, corpus)
    assert "1 files are not named like" in caplog.text and "notes.txt" in caplog.text
    write_recordings(tmp_path / "short", (20, 21))
    with pytest.raises(ValueError, match="no recordings for dev; .*indices 10 to 14 are test, 5 to 9 dev"):
        make(tmp_path, tmp_path / "short")


@pytest.mark.parametrize("content", ["bytes", "no samples"])
def test_damaged_audio_is_named(tmp_path, corpus, content):
    path = corpus / "recordings" / "3_theo_20.wav"
    if content == "bytes":
        path.write_bytes(b"nothing")
    else:
        soundfile.write(path, np.zeros(0, dtype=np.float32), 8000)
    with pytest.raises(ValueError, match=r"3_theo_20\.wav"):
        make(tmp_path, corpus)


def test_stereo_recordings_are_mixed(tmp_path, corpus):
    path = corpus / "recordings" / "3_theo_20.wav"
    soundfile.write(path, np.stack([np.full(4410, 0.1), np.full(4410, 0.3)], axis=1), 44100)
    recipe = make(tmp_path, corpus, train_sessions=60)
    found = [
        (cut, s)
        for cut in recipe.cuts("train")
        for s in cut.supervisions
        if (s.text, s.speaker) == ("three", "theo") and s.duration == pytest.approx(0.1)
    ]
    assert found
    cut, supervision = found[0]
    assert cut.load_audio()[0][round((supervision.start + 0.05) * 16000)] == pytest.approx(0.2, abs=2e-3)


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_sessions", 0), ("test_sessions", -1), ("min_digits", 1), ("max_digits", 3), ("max_digits", 100)]
    + [("max_speakers", 0)],
)
def test_arguments_out_of_range(key, value):
    with pytest.raises(ValueError, match=rf"SpokenDigits\.{key}.*: got {value}; give a whole number"):
        SpokenDigits(**{key: value})
