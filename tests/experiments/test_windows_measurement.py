"""experiments/measurements/windows.py: sessions joined, texts as the transcriber writes them, errors by block."""

import json
import sys

import pytest
import torch
import yaml
from lhotse import CutSet

from experiments.measurements import windows
from experiments.random_models import audio
from speech_xl import SAMPLE_RATE
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Windows
from speech_xl.inference import Transcriber
from speech_xl.run.command import CONFIG
from tests.listening_models import stage_folder, tiny_model
from tests.test_end_to_end import manifest

SECOND = Windows(1.0, multiple_of=1.0)
LONGEST = 2 * SAMPLE_RATE


def test_sessions_are_real_recordings_joined_and_what_is_said_in_them_is_shifted(tmp_path):
    cuts = list(CutSet.from_file(manifest(tmp_path, "test", 5)))
    length = cuts[0].duration
    found = windows.joined(cuts, 1.5 * length, 2, Transcript())
    assert [len(one.audio) for one in found] == [round(2 * length * SAMPLE_RATE)] * 2
    first, second = cuts[0].supervisions[0].start, cuts[0].supervisions[1].start
    seconds, texts = zip(*found[1].spoken, strict=True)
    assert seconds == pytest.approx([first, second, length + first, length + second])
    assert texts == ("tone 0", "tone 1") * 2
    with pytest.raises(
        ValueError, match=r"the sessions have 4 s in all and 99 are asked for; ask for less, or for more"
    ):
        windows.joined(cuts, 99.0, 1, Transcript())


def test_both_ways_write_what_the_transcriber_writes_in_the_same_parts():
    model, sound = tiny_model(transcript=Transcript(SECOND)), torch.as_tensor(audio(5.0)).float()
    ways = {name: windows.Way(model, asked) for name, asked in (("one", None), ("windows", SECOND))}
    found = windows.transcribe(sound, list(ways.values()), 4, LONGEST)
    for way, written in zip(ways.values(), found, strict=True):
        model.transcript.windows = way.windows
        transcriber = Transcriber(model, 4, part_seconds=LONGEST / SAMPLE_RATE)
        transcriber.push(sound, SAMPLE_RATE)
        transcriber.finish()
        ends = [round(one.end_seconds * SAMPLE_RATE) for one in transcriber.results]
        lengths = [len(part) for part in windows.parts(sound, LONGEST)]
        assert len(lengths) > 2 and ends == torch.tensor(lengths).cumsum(0).tolist()
        assert written.text == transcriber.transcription.text
        assert written.unfinished == sum(not one.finished for one in transcriber.results)
    one, other = found
    assert one.text != other.text and one.heard_seconds == other.heard_seconds > 0
    assert min(one.decode_seconds, other.decode_seconds) > 0


def test_a_way_of_another_model_hears_by_itself():
    models = [tiny_model(transcript=Transcript(SECOND)) for _ in range(2)]
    sound = torch.as_tensor(audio(1.0)).float()
    found = windows.transcribe(sound, [windows.Way(model, SECOND) for model in models], 4, LONGEST)
    assert found[0].text == found[1].text and found[0].heard_seconds != found[1].heard_seconds


SPOKEN = [(0.0, "one two"), (599.0, "three"), (600.0, "four five"), (1250.0, "six")]


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("One, two three four five six", [0, 0]),
        ("one two four five six", [1, 0]),
        ("one two three four nine six", [0, 1]),
        ("one two three so long four five six", [2, 0]),
        ("so one two three four five six", [1, 0]),
        ("one two three four five six six six", [0, 2]),
        ("", [3, 3]),
    ],
)
def test_errors_stand_in_the_block_where_the_reference_says_the_word(text, errors):
    found = windows.block_errors(SPOKEN, text, [600.0])
    assert [one for one, _ in found] == errors and [words for _, words in found] == [3, 3]
    assert windows.block_errors(SPOKEN, text) == [(sum(errors), 6)]


def test_the_hours_last_block_takes_what_is_left():
    session = windows.Session(torch.zeros(1260 * 4), SPOKEN)
    rows = windows.blocks_of(
        windows.Session(session.audio, [(second / 1000, text) for second, text in SPOKEN]),
        {"one": windows.Written("one two three four"), "windows": windows.Written("one two three four five six")},
        seconds=0.15,
    )
    assert [row["minutes"] for row in rows] == ["0 to 0.0025", "0.0025 to 0.005"]
    assert sum(row["words"] for row in rows) == 6 and rows[-1]["wer_windows"] == 0.0 < rows[-1]["wer_one"]


@pytest.fixture
def stage(tmp_path):
    """The folder of a stage that is asked in windows, with a corpus."""
    folder = stage_folder(tmp_path / "stage")
    config = yaml.safe_load((folder / CONFIG).read_text())
    paths = {split: manifest(tmp_path / "audio", split, 4) for split in ("train", "dev", "test")}
    config["data"]["corpus"] = {"class_path": "ManifestCorpus", "init_args": paths}
    config["data"]["cache_dir"] = str(tmp_path / "cache")
    windows = {"seconds": 1.0, "multiple_of": 1.0}
    config["data"]["partition"] = {"class_path": "FixedWindows", "init_args": {"seconds": 0.5}}
    config["data"]["transcript"] = {"class_path": "Transcript", "init_args": {"windows": windows}}
    (folder / CONFIG).write_text(yaml.safe_dump(config))
    return folder


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["windows.py", *map(str, words)])
    windows.main()


def test_the_command_records_both_ways(stage, tmp_path, monkeypatch, capsys):
    asked = ["--sessions", "2", "--seconds", "1.5", "--hour_seconds", "2.5", "--part_seconds", "2"]
    run(monkeypatch, stage, *asked, "--out", tmp_path, "--data", "partition.init_args.seconds=0.25")
    entry = json.loads((tmp_path / "windows.json").read_text())
    summary, (short, hour) = entry["summary"], entry["rows"]
    assert summary["split"] == "test" and summary["wer_one"] == short["wer_one"] and entry["items"] == 3
    assert (short["sessions"], short["words"], hour["sessions"]) == (2, 16, 1)
    assert short["total_seconds_one"] == pytest.approx(short["heard_seconds"] + short["decode_seconds_one"], abs=0.02)
    assert summary["speedup"] == pytest.approx(short["decode_seconds_one"] / short["decode_seconds_windows"], abs=0.01)
    assert summary["hour_wer_first_block"] == hour["wer_windows"] == entry["blocks"][0]["wer_windows"]
    assert entry["command"].startswith("python experiments/measurements/windows.py STAGE --sessions 2 --seconds 1.5")
    assert entry["window_seconds"] == 1.0 and "WER, %" in entry["unit"]
    for words, named in (
        ([stage, "--seconds", "99"], "99 are asked for"),
        ([stage, "--data", "corpus.init_args.tests=4"], "has no key corpus.init_args.tests"),
        ([tmp_path / "nowhere"], "nowhere"),
        ([stage_folder(tmp_path / "plain")], "data.transcript.init_args.windows is null"),
    ):
        with pytest.raises(SystemExit):
            run(monkeypatch, *words, "--out", tmp_path)
        assert named in capsys.readouterr().err
