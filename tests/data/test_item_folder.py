"""ItemFolder: rows of questions, choices and transcripts as items; what is missing is counted, faults name the line."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech_xl.data.audio_faults import A_FOLDER, CUT_OFF, MISSING, NO_SOUND, UNREADABLE
from speech_xl.data.cut_checks import cut_fault
from speech_xl.data.item_folder import ItemFolder
from speech_xl.data.item_rows import label_of
from speech_xl.data.items import items_of
from speech_xl.data.tasks import TaskMixture, item_turns


def folder(tmp_path: Path, *rows: dict | str, recordings=("a.flac", "b.flac"), name: str = "metadata.jsonl") -> Path:
    for place, audio in enumerate(recordings):
        path = tmp_path / "audio" / audio
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * np.sin(np.arange(16_000 * (place + 1)) * 0.05), 16_000)
    (tmp_path / name).write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return tmp_path


def items(corpus: ItemFolder, split: str = "test") -> list:
    return [item for cut in corpus.cuts(split) for item in items_of(cut)]


def row(**changes) -> dict:
    fields = {"audio": "audio/a.flac", "question": "What is it?", "answer": "rain", "choices": ["fog", "rain"]}
    return {key: value for key, value in (fields | changes).items() if value is not None}


def test_rows_about_one_recording_are_one_session(tmp_path):
    corpus = ItemFolder(
        str(
            folder(
                tmp_path,
                row(task="weather", language="en", max_tokens=4, id="first", level="easy"),
                row(question="How many?", answer=2, choices=None),
                row(audio="audio/b.flac", question=None, answer=None, choices=None, transcript="it rains"),
                {"audio": "audio/a.flac", "text": "a sound"},
            )
        )
    )
    corpus.prepare()
    first, second, said, other = items(corpus)
    assert (first.task, second.task, said.task, other.task) == ("choice", "answer", "transcript", "transcript")
    assert first.prompt == "What is it?\nA. fog\nB. rain" and first.answer == "B" and first.choices["B"] == "rain"
    assert (first.id, first.language, first.max_tokens) == ("first", "en", 4)
    assert first.about == {"task": "weather", "row": {"level": "easy"}}
    assert second.prompt == "How many?" and second.answer == "2" and second.max_tokens == 256
    assert said.prompt is None and said.answer == "a sound" and other.answer == "it rains"
    assert {item.benchmark for item in items(corpus)} == {"own"}
    cuts = list(corpus.cuts("test"))
    assert [(cut.id, cut.duration) for cut in cuts] == [("audio/a.flac", 1.0), ("audio/b.flac", 2.0)]
    assert all(cut_fault(cut) is None for cut in cuts)
    assert [turn.task for turn in item_turns(cuts[0])] == ["qa", "qa", "asr"]
    assert corpus.coverage("test").here == {"choice": 1, "answer": 1, "transcript": 2}


@pytest.mark.parametrize(
    ("choices", "answer", "label", "below"),
    [
        (["fog", "rain", "hail"], "B", "B", "A. fog\nB. rain\nC. hail"),
        (["fog", "rain"], " Rain ", "B", "A. fog\nB. rain"),
        (["fog", "rain"], "b", "B", "A. fog\nB. rain"),
        ({"x": "fog", "y": "rain"}, "y", "y", "x. fog\ny. rain"),
        ({"1": "2", "2": "1"}, "1", "1", "1. 2\n2. 1"),  # a label wins over a text
        ([1, 2, 3], 3, "C", "A. 1\nB. 2\nC. 3"),
        ("fog|rain", "rain", "B", "A. fog\nB. rain"),
        ('{"A": "fog", "B": "rain"}', "A", "A", "A. fog\nB. rain"),
    ],
)
def test_choices_in_every_form(tmp_path, choices, answer, label, below):
    (item,) = items(ItemFolder(str(folder(tmp_path, row(choices=choices, answer=answer)))))
    assert item.answer == label and item.prompt == f"What is it?\n{below}"


def test_any_number_of_choices_has_labels():
    assert [label_of(place) for place in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]


def test_choices_are_not_written_where_the_question_holds_them_or_the_user_says_so(tmp_path):
    asked = "Fog or rain?"
    rows = [row(question=asked), row(question="Foggy or rain?", id="2")]
    whole, part = items(ItemFolder(str(folder(tmp_path, *rows))))
    assert whole.prompt == asked and part.prompt == "Foggy or rain?\nA. fog\nB. rain"  # whole words count
    assert {i.prompt for i in items(ItemFolder(str(tmp_path), choices_in_prompt=False))} == {asked, "Foggy or rain?"}


def test_a_table_of_commas_with_splits_and_a_folder_of_audio_elsewhere(tmp_path):
    text = (
        "file_name,question,answer,choices,split,max_tokens,transcription\n"
        'a.flac,"Fog, or what?",rain,fog|rain,train,5,\n'
        "b.flac,,,,validation,,it rains\n"
        'b.flac,Why?,"because, said he",,test,,\n'
    )
    (tmp_path / "rows").mkdir()
    (folder(tmp_path) / "rows" / "own.csv").write_text(text)
    corpus = ItemFolder(str(tmp_path / "rows" / "own.csv"), audio_dir=str(tmp_path / "audio"), name="weather")
    with pytest.warns(UserWarning, match="recordings have rows in several splits: 1, such as b.flac"):
        corpus.prepare()
    (train,), (dev,), (test,) = (items(corpus, split) for split in ("train", "dev", "test"))
    assert train.max_tokens == 5 and train.prompt == "Fog, or what?\nA. fog\nB. rain"
    assert dev.answer == "it rains" and test.answer == "because, said he" and corpus.name == "weather"
    mixture = TaskMixture({"asr": 1.0, "qa": 1.0})  # such a corpus trains, too
    assert set(mixture.offers(next(iter(corpus.cuts("train"))))) == {"qa"}
    assert set(mixture.offers(next(iter(corpus.cuts("dev"))))) == {"asr"}


def test_a_missing_recording_is_counted_and_a_limit_holds_for_each_task(tmp_path):
    rows = [row(id=str(place)) for place in range(3)] + [
        row(audio="audio/c.flac"),
        {"audio": "audio/b.flac", "text": "x"},
    ]
    corpus = ItemFolder(str(folder(tmp_path, *rows)), limit=2)
    with pytest.warns(UserWarning, match=r"metadata.jsonl, line 4: audio file missing: .*c.flac. Rows .* reason: 1;"):
        assert len(items(corpus)) == 3
    assert corpus.coverage("test").to_json() == {
        "published": {"choice": 4, "transcript": 1},
        "here": {"choice": 2, "transcript": 1},
        "missing": {"choice": {"audio file missing": 1}},
        "filtered": {},
        "limit": 2,
    }


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("{", r"line 2: no JSON \(.*write one object a line"),
        ("[1]", r"line 2: got '\[1\]'; write one object a line"),
        (row(audio=None), "line 2: names no audio"),
        (row(audio="/etc/passwd"), "line 2: audio: '/etc/passwd' leads out of the folder"),
        (row(audio="../a.flac"), "line 2: audio: '../a.flac' leads out of the folder"),
        (row(audio=7), "line 2: audio: got 7; give a text"),
        (row(file_name="a.flac"), "line 2: has audio and file_name, which mean the same; keep one"),
        (row(question=None), "line 2: has an answer and no question"),
        (row(answer=None), "line 2: question 'What is it\\?' has no answer"),
        ({"audio": "audio/a.flac"}, "line 2: asks nothing"),
        (row(answer="snow"), r"line 2: answer: got 'snow', which is none of the choices; give a label \(A, B\)"),
        (row(choices=["fog"]), r"line 2: choices: got \{'A': 'fog'\}; give a list of two texts or more"),
        (row(choices=5), "line 2: choices: got 5; give a list"),
        (row(choices=["rain", "Rain"]), "line 2: choices: 'rain' is there twice"),
        (row(choices="[fog"), "line 2: choices: no JSON"),
        (row(choices=["fog", None]), "line 2: choices: label 'B' has no text"),
        (row(max_tokens=0), "line 2: max_tokens: got 0; give a whole number from 1"),
        (row(split="eval"), "line 2: split: got 'eval'; use one of train, dev, test"),
        (row(task=" "), "line 2: task: got ' '; give a text"),
        (row(audio="a\0.flac"), "line 2: audio: .* leads out of the folder"),
        (row(choicess=["fog", "rain"], choices=None), "line 2: key 'choicess' is unknown, and nearly 'choices'; write"),
        (row(answr="B", answer=None), "line 2: key 'answr' is unknown, and nearly 'answer'; write 'answer'"),
        (row(Language="en"), "line 2: key 'Language' is unknown, and nearly 'language'"),
        ('{"audio": "audio/a.flac", "text": "x", "text": "y"}', "line 2: key 'text' is there twice; keep one"),
        (row(choices='{"A": "fog", "A": "rain"}'), "line 2: choices: key 'A' is there twice; keep one"),
    ],
)
def test_a_bad_row_is_named_with_its_mend(tmp_path, bad, message):
    with pytest.raises(ValueError, match=rf"metadata.jsonl, {message}"):
        ItemFolder(str(folder(tmp_path, row(), bad))).prepare()


def test_keys_that_are_no_slip_are_kept(tmp_path):
    more = {"question_id": 7, "uid": "x", "idx": 3, "level": "easy", "context": "none"}
    (item,) = items(ItemFolder(str(folder(tmp_path, row(**more)))))
    assert item.about["row"] == more


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "audio;text\na.flac;one, two\n",
            "line 1: columns must be separated by commas; found semicolons in 'audio;text'",
        ),
        ("text\taudio\none\ta.flac\n", "line 1: columns must be separated by commas; found tabs in"),
        ("audio,text,text\na.flac,one,two\n", "line 1: column 'text' is there twice; keep one"),
        ('audio,text\na.flac,"one\n', r"line 2: no CSV \(unexpected end of data\); close every quote"),
    ],
)
def test_a_table_that_is_not_of_commas_is_named_with_its_mend(tmp_path, text, message):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"own.csv, {message}"):
        ItemFolder(str(tmp_path / "own.csv")).prepare()


def test_a_cell_may_hold_the_transcript_of_a_day(tmp_path):
    words = "it rains " * 20_000
    (folder(tmp_path) / "own.csv").write_text(f"audio,text\naudio/a.flac,{words}\n")
    (item,) = items(ItemFolder(str(tmp_path / "own.csv")))
    assert len(item.answer) == len(words) > csv.field_size_limit()


def test_two_ways_to_write_a_path_are_one_session(tmp_path):
    rows = [row(), row(audio="./audio/a.flac"), row(audio="audio//./a.flac", question="Why?")]
    (cut,) = ItemFolder(str(folder(tmp_path, *rows))).cuts("test")
    assert cut.id == "audio/a.flac" and len({item.id for item in items_of(cut)}) == 3


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("x.wav", half, CUT_OFF),
        ("x.ogg", half, CUT_OFF),
        ("x.opus", half, CUT_OFF),
        ("x.ogg", lambda path: path.write_bytes(path.read_bytes()[:-1]), CUT_OFF),
        ("x.wav", lambda path: path.write_bytes(b""), CUT_OFF),
        ("x.wav", lambda path: path.write_text("no audio"), UNREADABLE),
        ("x.wav", lambda path: soundfile.write(path, np.zeros(0), 16_000), NO_SOUND),
        ("x.wav", lambda path: (path.unlink(), path.mkdir()), A_FOLDER),
        ("x.wav", Path.unlink, MISSING),
        ("x.wav", lambda path: None, None),
        ("x.ogg", lambda path: None, None),
        ("x.opus", lambda path: None, None),
        ("x.wav", lambda path: path.write_bytes(piped(path.read_bytes())), None),
    ],
)
def test_a_recording_that_is_no_use_is_counted_by_reason_and_the_others_are_asked(tmp_path, name, spoil, reason):
    path = folder(tmp_path, row(), row(audio=f"audio/{name}"), row(audio=f"audio/{name}", question="Why?")) / "audio"
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    soundfile.write(path / name, noise, 16_000, *(("OPUS", None, "OGG") if name == "x.opus" else ()))
    spoil(path / name)
    corpus = ItemFolder(str(tmp_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        corpus.prepare()
    messages = [str(one.message) for one in caught if "ItemFolder" in str(one.message)]
    if reason is None:
        assert not messages and [cut.duration for cut in corpus.cuts("test")] == [1.0, 3.0]
        return
    assert len(messages) == 1 and f"line 2: {reason}: " in messages[0] and "reason: 2;" in messages[0]
    assert corpus.coverage("test").missing == {"choice": {reason: 2}}
    assert corpus.coverage("test").here == {"choice": 1} and len(items(corpus)) == 1


def piped(wav: bytes) -> bytes:
    """A WAV as it is written into a pipe: the lengths of the file and of its samples weren't known."""
    unknown, data = b"\xff\xff\xff\xff", wav.index(b"data") + 4
    return wav[:4] + unknown + wav[8:data] + unknown + wav[data + 4 :]


def test_what_else_a_user_can_get_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no file, nor a folder with metadata.jsonl"):
        ItemFolder(str(tmp_path)).check()
    with pytest.raises(ValueError, match=r"metadata.jsonl: holds no rows; write lines such as \{"):
        ItemFolder(str(folder(tmp_path))).prepare()
    with pytest.raises(ValueError, match="id 'one' is there twice"):
        ItemFolder(str(folder(tmp_path, row(id="one"), row(id="one")))).prepare()
    said = {"audio": "audio/a.flac", "text": "x"}
    with pytest.raises(ValueError, match="line 2: audio/a.flac has a transcript in .*line 1; keep one"):
        ItemFolder(str(folder(tmp_path, said, said))).prepare()
    with (
        pytest.raises(
            FileNotFoundError, match="line 1: audio file missing: .*nowhere.flac; nor can the audio of any other"
        ),
        pytest.warns(UserWarning),
    ):
        ItemFolder(str(folder(tmp_path, row(audio="nowhere.flac")))).prepare()
    with pytest.raises(ValueError, match="has no row of the split 'train', only of test"):
        ItemFolder(str(folder(tmp_path, row()))).cuts("train")
    with pytest.raises(FileNotFoundError, match="audio_dir .*nowhere is missing"):
        ItemFolder(str(tmp_path), audio_dir=str(tmp_path / "nowhere")).check()
    (tmp_path / "metadata.csv").write_text("audio,question\n")
    with pytest.raises(ValueError, match="has metadata.csv and metadata.jsonl; name one"):
        ItemFolder(str(tmp_path)).check()
    (tmp_path / "metadata.csv").write_text("audio,text\na.flac,one, two\n")
    with pytest.raises(ValueError, match="line 2: has more cells than the first line"):
        ItemFolder(str(tmp_path / "metadata.csv")).prepare()
    with pytest.raises(ValueError, match="give a .jsonl or .csv file"):
        ItemFolder(str(tmp_path / "audio" / "a.flac")).check()
