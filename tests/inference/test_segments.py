"""Segments lie in order within their stretch of audio, and other readers read the subtitles that are made of them."""

import av
import pytest
import soundfile

from experiments.random_models import audio
from speech_xl.data.audio_folder import AudioFolder
from speech_xl.data.transcript import PLAIN
from speech_xl.extensions.timestamps.transcript import Timestamps
from speech_xl.inference.segments import Segment, as_srt, as_vtt, segments_of, words_of

WORDS, UTTERANCES = Timestamps(step_seconds=0.4, words=True), Timestamps()


def test_words_are_put_together_until_somebody_pauses():
    text = "[0.4] good[0.8] morning to[1.6] you[4.0] how are"
    found = segments_of(WORDS, text, 100.0, 110.0)
    assert found == [Segment(100.4, 102.5, "good morning to you"), Segment(104.0, 105.3, "how are")]
    assert words_of(WORDS, text, 100.0, 110.0)[1:4] == [(100.8, "morning"), (100.8, "to"), (101.6, "you")]


def test_a_segment_of_words_is_read_at_a_glance():
    text = " ".join(f"[{0.4 * number:.1f}] conversation" for number in range(60))
    found = segments_of(WORDS, text, 0.0, 30.0)
    assert all(one.end_seconds - one.start_seconds <= 7.5 and len(one.text) <= 84 for one in found)
    assert " ".join(one.text for one in found) == WORDS.words(text)
    assert all(one.end_seconds == after.start_seconds for one, after in zip(found, found[1:], strict=False))


def test_utterances_are_segments_as_they_are():
    found = segments_of(UTTERANCES, "[0] good morning [3] hello there you [60] bye", 10.0, 70.4)
    assert found == [
        Segment(10.0, 11.3, "good morning"),
        Segment(13.0, 14.7, "hello there you"),
        Segment(70.0, 70.4, "bye"),
    ]
    assert words_of(UTTERANCES, "[0] good morning", 0.0, 4.0) == []


def test_text_without_timestamps_is_one_segment():
    assert segments_of(PLAIN, " good\nmorning ", 5.0, 9.0) == [Segment(5.0, 9.0, "good morning")]
    for transcript in (PLAIN, WORDS, UTTERANCES):
        assert segments_of(transcript, "  ", 5.0, 9.0) == []
    assert segments_of(UTTERANCES, "good [3] [4] bye", 5.0, 12.0) == [
        Segment(5.0, 5.9, "good"),
        Segment(9.0, 9.9, "bye"),
    ]


def test_times_that_fall_or_lie_beyond_the_audio_are_mended():
    """A tokenizer that spells timestamps out can write any."""
    found = segments_of(UTTERANCES, "[7] one [3] two [8] three [99] four", 0.0, 10.0)
    assert [one.text for one in found] == ["one two", "three", "four"]
    assert [one.start_seconds for one in found] == [7.0, 8.0, 10.0]
    assert all(one.end_seconds >= one.start_seconds for one in found) and found[-1].end_seconds == 10.0


SAID = [
    Segment(0.0, 1.2344, "plain"),
    Segment(1.2344, 1.2344, "no time at all"),
    Segment(59.9996, 61.0, "R&D said <b>5 > 3</b> --> so\n\nit is"),
    Segment(100.0, 101.0, "  "),
    Segment(3_661.5, 3_662.25, "after an hour ü 🙂"),
]
TIMES = [(0, 1234), (1234, 1235), (60_000, 61_000), (3_661_500, 3_662_250)]  # ms


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_ffmpeg_reads_the_subtitles(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    path.write_text(as_srt(SAID) if kind == "srt" else as_vtt(SAID), encoding="utf-8")
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        found = [
            (
                round(packet.pts * packet.time_base * 1000),
                round((packet.pts + packet.duration) * packet.time_base * 1000),
            )
            for packet in packets
        ]
        texts = [bytes(packet).decode() for packet in packets]
    assert found == TIMES
    assert [text.strip() for text in texts][::3] == ["plain", "after an hour ü 🙂"]
    assert "\n" not in texts[2].strip() and "-->" not in texts[2]


def test_subtitles_are_written_to_the_letter():
    assert as_srt(SAID[:2]) == (
        "1\n00:00:00,000 --> 00:00:01,234\nplain\n\n2\n00:00:01,234 --> 00:00:01,235\nno time at all\n"
    )
    assert as_vtt(SAID[2:]) == (
        "WEBVTT\n\n00:01:00.000 --> 00:01:01.000\nR&amp;D said &lt;b&gt;5 &gt; 3&lt;/b&gt; --&gt; so it is\n\n"
        "01:01:01.500 --> 01:01:02.250\nafter an hour ü 🙂\n"
    )
    assert as_srt([]) == "" and as_vtt([]) == "WEBVTT\n"


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_a_corpus_folder_reads_the_subtitles(tmp_path, kind):
    """What transcribes a recording is what trains on it."""
    said = [Segment(0.0, 1.5, "good morning"), Segment(1.5, 2.0, "R&D")]
    for split in ("train", "dev", "test"):
        (tmp_path / split).mkdir()
        soundfile.write(tmp_path / split / "a.wav", audio(2.0).numpy(), 16_000)
        (tmp_path / split / f"a.{kind}").write_text(as_srt(said) if kind == "srt" else as_vtt(said))
    corpus = AudioFolder(str(tmp_path))
    corpus.prepare()
    cuts = [cut for split in ("train", "dev", "test") for cut in corpus.cuts(split)]
    assert len(cuts) == 3
    assert [(s.start, s.end, s.text) for s in cuts[0].supervisions] == [(0.0, 1.5, "good morning"), (1.5, 2.0, "R&D")]
