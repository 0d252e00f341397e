"""A folder of recordings and transcripts is a corpus: every form of transcript, splits, and what is wrong with it."""

import json

import numpy as np
import pytest
import soundfile

from speech_xl.data.audio import load_audio
from speech_xl.data.audio_folder import AudioFolder, cues

SRT = "1\n00:00:00,500 --> 00:00:01,250\ngood <i>morning</i>\n\n2\n00:00:01,500 --> 00:00:02,000\nhello\nagain\n"
VTT = "WEBVTT\n\nNOTE x\n\n00:00.500 --> 00:01.250\ngood morning\n\n00:01.500 --> 00:02.000 line:0\nhello again\n"
CUES = [(0.5, 1.25, "good morning"), (1.5, 2.0, "hello again")]


def record(path, seconds=2.0, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    tone = np.sin(np.arange(round(seconds * rate)) * 0.05) * 0.1
    soundfile.write(path, tone, rate)
    return path


def split_folders(folder):
    for split in ("train", "dev", "test"):
        record(folder / split / f"{split}.wav").with_suffix(".txt").write_text("some words\n here")
    return folder


@pytest.mark.parametrize(("name", "text"), [("a.srt", SRT), ("a.vtt", VTT), ("b.srt", SRT.replace("\n", "\r\n"))])
def test_subtitles_are_utterances_with_times(tmp_path, name, text):
    (tmp_path / name).write_text(text, newline="")
    assert cues(tmp_path / name) == CUES


def test_a_text_beside_a_recording_is_its_transcript(tmp_path):
    (cut,) = AudioFolder(str(split_folders(tmp_path))).cuts("train")
    assert [(s.text, s.start, s.end) for s in cut.supervisions] == [("some words here", 0.0, 2.0)]
    assert cut.id == "train/train" and load_audio(cut).shape == (32000,)


def test_a_table_in_the_form_of_hugging_face(tmp_path):
    split_folders(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.unlink()
    (tmp_path / "train" / "metadata.csv").write_text("file_name,transcription,speaker\ntrain.wav,one,ann\n")
    rows = [{"file_name": f"{split}/{split}.wav", "text": split, "language": "English"} for split in ("dev", "test")]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = AudioFolder(str(tmp_path))
    corpus.prepare()
    assert [(s.text, s.speaker) for cut in corpus.cuts("train") for s in cut.supervisions] == [("one", "ann")]
    assert [(s.text, s.language) for cut in corpus.cuts("dev") for s in cut.supervisions] == [("dev", "English")]


def test_other_rates_are_resampled_and_subtitles_end_with_the_audio(tmp_path):
    split_folders(tmp_path)
    record(tmp_path / "train" / "long.flac", 1.8, rate=8000).with_suffix(".srt").write_text(SRT)
    cut = {cut.id: cut for cut in AudioFolder(str(tmp_path)).cuts("train")}["train/long"]
    assert load_audio(cut).shape == (28800,)
    assert cut.supervisions[-1].end == pytest.approx(1.8)


def test_without_folders_a_new_recording_moves_no_other(tmp_path):
    for number in range(60):
        record(tmp_path / f"{number}.wav", 0.2).with_suffix(".txt").write_text("x")

    def places():
        corpus = AudioFolder(str(tmp_path), dev_share=0.2, test_share=0.2)
        return {cut.id: split for split in ("train", "dev", "test") for cut in corpus.cuts(split)}

    before = places()
    assert len(before) == 60 and {"train", "dev", "test"} == set(before.values())
    record(tmp_path / "new.wav", 0.2).with_suffix(".txt").write_text("x")
    assert {name: split for name, split in places().items() if name != "new"} == before


def test_what_is_wrong_is_named_with_its_mend(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder .*gone is missing"):
        AudioFolder(str(tmp_path / "gone")).prepare()
    split_folders(tmp_path)
    corpus = AudioFolder(str(tmp_path))
    record(tmp_path / "train" / "mute.wav")
    with pytest.raises(ValueError, match=r"mute.wav has no transcript; put mute.txt, .srt or .vtt beside it"):
        list(corpus.cuts("train"))
    (tmp_path / "train" / "mute.srt").write_text("no times at all")
    with pytest.raises(ValueError, match="mute.srt: has no cue with times"):
        list(corpus.cuts("train"))
    (tmp_path / "train" / "mute.srt").write_text("1\n00:00:02,000 --> 00:00:01,000\nx\n")
    with pytest.raises(ValueError, match="ends before it begins"):
        list(corpus.cuts("train"))
    (tmp_path / "train" / "mute.srt").write_text(
        SRT.replace("00:00:01,500", "00:00:31,500").replace("02,000", "59,000")
    )
    with pytest.raises(ValueError, match=r"mute.wav is 2.00 s long and its transcript has an utterance at"):
        list(corpus.cuts("train"))
    (tmp_path / "train" / "mute.srt").unlink()
    (tmp_path / "train" / "metadata.csv").write_text("file_name,words\nmute.wav,hello\n")
    with pytest.raises(ValueError, match=r"metadata.csv:2: has no transcription"):
        list(corpus.cuts("train"))
    (tmp_path / "test" / "test.wav").unlink()
    with pytest.raises(ValueError, match="recordings is for the split 'test'"):
        corpus.prepare()
    record(tmp_path / "stray.wav")
    with pytest.warns(UserWarning, match="1 recordings such as stray.wav lie in none of the folders"):
        list(corpus.cuts("dev"))
