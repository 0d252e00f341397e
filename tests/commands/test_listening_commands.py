"""listen and transcribe: what goes to stdout, to files and to stderr, and what happens where a file is broken."""

import json
import warnings
from pathlib import Path

import av
import pytest
import soundfile

from experiments.random_models import audio
from speech_xl.commands import model_options, progress
from speech_xl.commands.main import main
from speech_xl.inference import load_stage
from tests.listening_models import stage_folder

PART = ["--part-seconds", "2"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return str(stage_folder(tmp_path_factory.mktemp("model") / "stage"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("a", 2.9), ("b", 1.2)):
        soundfile.write(f"{name}.wav", audio(seconds).numpy(), 16_000, subtype="FLOAT")
    return tmp_path


def refused(*words):
    with pytest.raises(SystemExit) as ended:
        main([*words])
    assert ended.value.code == 2


def test_one_file_goes_to_stdout(stage, place, capsys):
    found = load_stage(stage).transcribe("a.wav", part_seconds=2)
    assert found.parts == 2
    for form, text in (("txt", found.as_text()), ("srt", found.as_srt()), ("vtt", found.as_vtt())):
        capsys.readouterr()
        main(["transcribe", "a.wav", "--format", form, "--model", stage, *PART])
        shown = capsys.readouterr()
        assert shown.out == text and "a.wav: 2.9 s heard in 2 parts" in shown.err
        assert "Loading weights" not in shown.err and " tensors " not in shown.err
    main(["transcribe", "a.wav", "--format", "json", "--model", stage, *PART])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.as_dict()))


def test_a_broken_file_does_not_lose_the_others(stage, place, capsys):
    (place / "broken.m4a").write_text("no audio")
    words = ["transcribe", "a.wav", "broken.m4a", "gone.wav", "b.wav", "--format", "srt", "--model", stage, *PART]
    refused(*words, "--output-dir", "out")
    shown = capsys.readouterr()
    assert shown.out.split() == ["out/a.srt", "out/b.srt"] and (place / "out" / "b.srt").read_text().startswith("1\n")
    *_, first, second, last = shown.err.splitlines()
    assert first.startswith("error: broken.m4a can't be read as audio") and second.startswith(
        "error: gone.wav is missing"
    )
    assert last == "2 of 4 files left out"


def test_no_file_is_written_over_unasked(stage, place, capsys):
    (place / "a.txt").write_text("mine")
    refused("transcribe", "a.wav", "b.wav", "--model", stage)
    assert "a.txt is there already; name another --output-dir, or add --overwrite" in capsys.readouterr().err
    assert (place / "a.txt").read_text() == "mine"
    main(["transcribe", "a.wav", "b.wav", "--model", stage, "--overwrite", *PART])
    assert (place / "a.txt").read_text() != "mine"
    (place / "sub").mkdir()
    (place / "a.wav").rename(place / "sub" / "b.wav")
    refused("transcribe", "b.wav", "sub/b.wav", "--model", stage, "--output-dir", "out")
    assert "b.wav and sub/b.wav would both be written to out/b.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--ratio", "0"], "argument --ratio"),
        (["--part-seconds", "0.1"], "argument --part-seconds"),
        (["--part-seconds", "1e6"], "error: part_seconds: got 1e+06"),
        (["--model", "nowhere"], "error: --model nowhere is missing"),
        (["--model", "a.wav"], "error: --model a.wav is no folder"),
        (["--output-dir", "a.wav/x"], "error: --output-dir"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_heard(stage, place, capsys, words, said):
    refused("transcribe", "a.wav", "--model", stage, *words)
    shown = capsys.readouterr()
    assert said in shown.err and " s heard" not in shown.err and "Traceback" not in shown.err


def test_an_answer_is_printed_as_it_comes_or_as_json(stage, place, capsys):
    memory = load_stage(stage).listen("a.wav", ratio=2)
    memory.push("b.wav")
    answer = memory.ask("who?", 9)
    words = ["listen", "a.wav", "b.wav", "--model", stage, "--ratio", "2", "--ask", "who?", "--limit", "9"]
    main(words)
    shown = capsys.readouterr()
    assert shown.out == f"{answer.text}\n" and "4.1 s heard" in shown.err and "cut at 9 tokens" in shown.err
    main([*words, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told.pop("question") == "who?" and told == json.loads(json.dumps(vars(answer)))


def test_a_memory_is_kept_for_another_time(stage, place, capsys):
    main(["listen", "a.wav", "--model", stage, "--save", "talk.memory"])
    assert not capsys.readouterr().out, "nothing was asked"
    main(["listen", "--load", "talk.memory", "b.wav", "--model", stage, "--ask", "who?", "--limit", "9"])
    later = capsys.readouterr().out
    main(["listen", "a.wav", "b.wav", "--model", stage, "--ask", "who?", "--limit", "9"])
    assert capsys.readouterr().out == later
    before = Path("a.wav").read_bytes(), Path("talk.memory").read_bytes()
    refused("listen", "a.wav", "--model", stage, "--save", "a.wav", "--overwrite")
    assert "a.wav: is the audio that is to be heard; name another file" in capsys.readouterr().err
    refused("listen", "a.wav", "--model", stage, "--save", "talk.memory")
    assert "talk.memory: is there already; name another file, or add --overwrite" in capsys.readouterr().err
    assert before == (Path("a.wav").read_bytes(), Path("talk.memory").read_bytes())
    main(["listen", "--load", "talk.memory", "b.wav", "--model", stage, "--save", "talk.memory"])  # to go on
    assert before[1] != Path("talk.memory").read_bytes()
    main(["listen", "a.wav", "--model", stage, "--save", "talk.memory", "--overwrite"])
    assert before[1] == Path("talk.memory").read_bytes()
    capsys.readouterr()
    refused("listen", "--load", "talk.memory", "--model", stage, "--interval", "7")
    assert "was heard in intervals of 0.48 s; leave it out" in capsys.readouterr().err


def test_remarks_are_lines_without_places_in_the_code(stage, place, capsys, monkeypatch):
    soundfile.write("silent.wav", audio(2.0).numpy() * 0, 16_000)
    main(["transcribe", "silent.wav", "--model", stage])
    shown = capsys.readouterr()
    assert "warning: silent.wav: holds 2.0 s of digital silence" in shown.err and shown.out == "\n"
    assert "UserWarning" not in shown.err
    with model_options.plain_warnings():
        warnings.warn("one", stacklevel=1)
    assert capsys.readouterr().err == "warning: one\n"


def test_without_a_model_the_shipped_one_is_named(place, capsys, monkeypatch):
    (place / "x.wav").write_text("no audio")
    refused("transcribe", "x.wav")
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        "model: read_speech, which comes along: a demonstration of 4.5 M parameters, for read English. "
        "--model names another"
    )
    assert (model_options.shipped_folder() / "README.md").is_file()
    monkeypatch.setattr(model_options, "SHIPPED", "none")
    refused("transcribe", "x.wav")
    assert "is missing, the model that comes along" in capsys.readouterr().err


def recorded(name, codec, rate):
    """Two seconds of noise as a phone or a browser would write them."""
    with av.open(name, "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        samples = audio(samples=2 * rate).numpy()
        for start in range(0, len(samples), size := stream.codec_context.frame_size or 960):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + size], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            for one in resampler.resample(frame):
                container.mux(stream.encode(one))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.m4a", "aac", 44_100), ("a.webm", "libopus", 48_000), ("a.mp4", "aac", 48_000)]
)
def test_video_and_browser_recordings_are_heard(stage, place, capsys, name, codec, rate):
    recorded(name, codec, rate)
    main(["transcribe", name, "--model", stage])
    shown = capsys.readouterr()
    assert f"{name}: 2.0 s heard" in shown.err and "header" not in shown.err


def test_a_terminal_shows_the_seconds_heard_and_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.heard_bar("talk.m4a", 120.0) as told:
        told(30.0, 120.0)
        told(60.0, 120.0)
    shown = capsys.readouterr().err
    assert "talk.m4a" in shown and " of 120 s of audio, " in shown and " left" in shown
