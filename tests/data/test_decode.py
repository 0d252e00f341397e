"""All of a file is heard, whatever its header says, and its seconds are those that were decoded."""

import re
import struct
from math import gcd

import av
import numpy as np
import pytest
import soundfile
import torch
from lhotse import Recording
from scipy.signal import resample_poly

from speech_xl.data import decode
from speech_xl.data.audio import load_audio
from speech_xl.data.decode import AudioError, AudioFile, Resampler

RATE = 16_000
SECONDS = 4.0


def sound(seconds=SECONDS, rate=RATE):
    """A tone, and noise in its first half: an MP3 of it needs more bits there."""
    time = np.arange(round(seconds * rate)) / rate
    noise = 0.2 * np.random.default_rng(0).standard_normal(len(time)) * (time < seconds / 2)
    return (0.1 * np.sin(2 * np.pi * 440 * time) + noise).astype(np.float32)


def written(path, samples=None, rate=RATE, **options):
    soundfile.write(path, sound() if samples is None else samples, rate, **options)
    return path


def wav(path, riff, data, behind=b""):
    """A WAV of 4 s whose header has these two sizes."""
    whole = bytearray(written(path).read_bytes())
    place = whole.index(b"data") + 4
    whole[4:8], whole[place : place + 4] = struct.pack("<I", riff), struct.pack("<I", data)
    path.write_bytes(bytes(whole) + behind)
    return path


def flac(path, samples):
    """A FLAC of 4 s whose header says so many samples."""
    whole = bytearray(written(path).read_bytes())
    whole[21] &= 0xF0
    whole[22:26] = struct.pack(">I", samples)
    path.write_bytes(whole)
    return path


def mp3_without_header(path):
    """As recorders of variable bit rate write it: nothing says how many frames there are."""
    with soundfile.SoundFile(path, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5) as file:
        file.write(sound())
    whole = path.read_bytes()
    second = next(i for i in range(4, len(whole)) if whole[i] == 0xFF and whole[i + 1] == whole[1])
    assert b"Xing" in whole[:second]
    path.write_bytes(whole[second:])
    return path


def twice(path, **options):
    path.write_bytes(written(path, **options).read_bytes() * 2)
    return path


WHOLE = {
    "wav": lambda d: written(d / "a.wav"),
    "wav of 24 bits": lambda d: written(d / "a.wav", subtype="PCM_24"),
    "wav of 32 bits": lambda d: written(d / "a.wav", subtype="PCM_32"),
    "wav of floats": lambda d: written(d / "a.wav", subtype="FLOAT"),
    "flac": lambda d: written(d / "a.flac"),
    "mp3": lambda d: written(d / "a.mp3"),
    "vorbis": lambda d: written(d / "a.ogg"),
    "opus": lambda d: written(d / "a.ogg", subtype="OPUS"),
    "aiff": lambda d: written(d / "a.aiff"),
    "au": lambda d: written(d / "a.au"),
    "caf": lambda d: written(d / "a.caf"),
    "w64": lambda d: written(d / "a.w64"),
    "rf64": lambda d: written(d / "a.wav", format="RF64"),
    "flac named wav": lambda d: written(d / "a.wav", format="FLAC"),
    "wav through a pipe": lambda d: wav(d / "a.wav", 0xFFFFFFFF, 0xFFFFFFFF),
    "wav of a killed recorder": lambda d: wav(d / "a.wav", 0, 0),
    "wav with a chunk behind": lambda d: wav(d / "a.wav", 128_080, 128_000, b"LIST" + struct.pack("<I", 4) + b"INFO"),
    "flac through a pipe": lambda d: flac(d / "a.flac", 0),
}
WRONG = {
    "wav header too short": (lambda d: wav(d / "a.wav", 64_036, 64_000), 2.0, 4.0),
    "wav header too long": (lambda d: wav(d / "a.wav", 256_036, 256_000), 8.0, 4.0),
    "flac header too short": (lambda d: flac(d / "a.flac", 16_000), 1.0, 4.0),
    "flac header too long": (lambda d: flac(d / "a.flac", 96_000), 6.0, 4.0),
    "two mp3": (lambda d: twice(d / "a.mp3"), 4.0, 8.1),
    "two ogg": (lambda d: twice(d / "a.ogg"), 4.0, 8.0),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_all_of_a_file_is_heard(tmp_path, kind):
    file = AudioFile.of(WHOLE[kind](tmp_path))
    heard = torch.cat(list(file.chunks()))
    assert file.seconds == pytest.approx(SECONDS, abs=0.01) and len(heard) == round(file.seconds * RATE)
    assert not file.remarks()
    if kind not in ("mp3", "vorbis", "opus"):
        assert np.abs(heard.numpy() - sound()).max() < 2e-4


@pytest.mark.parametrize("kind", WRONG)
def test_a_header_that_is_wrong_is_named_and_does_not_matter(tmp_path, kind):
    make, header, decoded = WRONG[kind]
    file = AudioFile.of(make(tmp_path))
    assert file.seconds == pytest.approx(decoded, abs=0.3)
    assert sum(len(piece) for piece in file.chunks()) == round(file.seconds * RATE)
    assert file.remarks()[0] == f"its header says {header:.1f} s, {file.seconds:.1f} s decoded and heard"


def test_an_mp3_without_a_header_is_heard_to_its_end(tmp_path):
    """By its first frame's bit rate it seems to be shorter, and libsndfile stops there."""
    path = mp3_without_header(tmp_path / "a.mp3")
    assert soundfile.info(path).duration < 2.0
    file = AudioFile.of(path)
    assert file.seconds == pytest.approx(SECONDS, abs=0.1) and "decoded and heard" in file.remarks()[0]
    heard = torch.cat(list(file.chunks())).numpy()
    assert np.abs(np.fft.rfft(heard[-RATE:])).argmax() == 440


def test_bytes_behind_the_audio_are_told(tmp_path):
    path = written(tmp_path / "a.aiff")
    path.write_bytes(path.read_bytes() + bytes(100_000))
    (remark,) = AudioFile.of(path).remarks()
    assert "bytes behind its audio are not heard" in remark and "ffmpeg" in remark


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_resampled_in_blocks_is_resampled_at_once(tmp_path, rate, monkeypatch):
    samples = sound(3.3, rate)
    common = gcd(rate, RATE)
    whole = resample_poly(samples, RATE // common, rate // common)
    for sizes in ([10], [1, 7, 1_000], [4_096], [len(samples)]):
        resampler, parts, start, number = Resampler(rate), [], 0, 0
        while start < len(samples):
            size = sizes[number % len(sizes)] if sizes != [10] else 500
            parts.append(resampler.push(samples[start : start + size]))
            start, number = start + size, number + 1
        made = np.concatenate([*parts, resampler.flush()])
        np.testing.assert_allclose(made, whole, atol=1e-6)
    # A file goes the same way, in the number of samples that lhotse gives it.
    monkeypatch.setattr(decode, "BLOCK_SECONDS", 0.7)
    path = written(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    heard = torch.cat(list(AudioFile.of(path).chunks()))
    torch.testing.assert_close(heard, load_audio(Recording.from_file(path).to_cut()), atol=1e-6, rtol=0)


def test_channels_that_cancel_are_not_mixed(tmp_path):
    path = written(tmp_path / "a.wav", np.stack([0.5 * sound(), -0.49 * sound()], axis=1))
    file = AudioFile.of(path)
    assert "its channels cancel when mixed, so channel 1, the loudest, is heard alone" in file.remarks()
    heard = torch.cat(list(file.chunks()))
    assert np.abs(heard.numpy() - 0.5 * sound()).max() < 2e-4
    whole = Recording.from_file(path).to_cut()
    part = whole.truncate(offset=1.0, duration=0.5)
    padded = whole.pad(duration=SECONDS + 1)
    with pytest.warns(UserWarning, match=r"a\.wav: its channels cancel when mixed, so channel 1"):
        assert torch.equal(load_audio(whole), heard)
        assert torch.equal(load_audio(part), heard[RATE : RATE * 3 // 2])
        assert torch.equal(load_audio(padded)[: len(heard)], heard)


def test_channels_that_cancel_for_a_moment_are_mixed(tmp_path):
    """What is heard is decided for a recording as a whole, for any part of it alike."""
    left = sound()
    right = np.where(np.arange(len(left)) < RATE, -left, 0.5 * left)
    path = written(tmp_path / "a.wav", np.stack([left, right], axis=1))
    file = AudioFile.of(path)
    assert not file.remarks()
    part = load_audio(Recording.from_file(path).to_cut().truncate(duration=0.5))
    torch.testing.assert_close(torch.cat(list(file.chunks()))[: len(part)], part)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(2 * RATE), r"holds 2\.0 s of digital silence; there is no speech to transcribe"),
        (np.full(2 * RATE, 1 / 32768), "digital silence"),
        (np.pad(np.full(160, 0.5), (RATE, RATE)), r"holds 0\.0100 s of sound in 2\.01 s, a click"),
        (np.full(1, 0.5), "a click"),
    ],
)
def test_silence_and_clicks_are_called_so(tmp_path, samples, said):
    path = written(tmp_path / "a.wav", samples)
    (remark,) = AudioFile.of(path).remarks()
    assert re.search(said, remark)
    with pytest.warns(UserWarning, match=said):
        load_audio(Recording.from_file(path).to_cut())


def test_what_cannot_be_heard_says_what_it_is_and_how_to_convert_it(tmp_path):
    path = tmp_path / "a.m4a"
    path.write_bytes(struct.pack(">I", 24) + b"ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"a\.m4a can't be read as audio.*ffmpeg -i .*a\.converted\.flac"):
        AudioFile.of(path)
    path.write_text("no audio at all")
    with pytest.raises(AudioError, match=r"a\.m4a can't be read as audio"):
        AudioFile.of(path)
    with pytest.raises(AudioError, match="is no file; name an audio file"):
        AudioFile.of(tmp_path)
    path = written(tmp_path / "a.flac")
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 3])
    with pytest.raises(AudioError, match=r"a\.flac is damaged within the first 4 s .* saved: ffmpeg -i \S+ \S+$"):
        AudioFile.of(path)
    path = path.rename(tmp_path / "my talk.flac")
    with pytest.raises(AudioError, match=r"ffmpeg -i '/.*my talk\.flac' 'my talk\.converted\.flac'$"):
        AudioFile.of(path)
    path = written(tmp_path / "long.flac", sound(61.0))
    path.write_bytes(path.read_bytes()[: -len(path.read_bytes()) // 10])
    with pytest.raises(AudioError, match=r"is damaged between 30 s and 60 s"):
        AudioFile.of(path)
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"long\.flac is empty \(0 bytes\); restore it, or leave it out$"):
        AudioFile.of(path)
    samples = sound()
    samples[100] = np.inf
    with pytest.raises(AudioError, match="holds samples that are not numbers"):
        AudioFile.of(written(tmp_path / "a.wav", samples, subtype="FLOAT"))


@pytest.mark.parametrize("short", [1, 80, 200, 6_000])
def test_a_file_that_is_shorter_than_its_manifest_is_refused_and_never_mirrored(tmp_path, short):
    path = written(tmp_path / "a.wav")
    cut = Recording.from_file(path).to_cut()
    written(path, sound()[:-short])
    if short <= 80:  # 5 ms: rounding
        assert len(load_audio(cut)) == round(SECONDS * RATE)
        return
    with pytest.raises(
        AudioError, match=r"a\.wav of session .* is 3\.\d+ s long and asked for up to 4\.000 s; restore"
    ):
        load_audio(cut)


@pytest.mark.parametrize("start", [-1.0, float("nan")])
def test_a_cut_that_begins_before_its_recording_is_refused(tmp_path, start):
    cut = Recording.from_file(written(tmp_path / "a.wav")).to_cut().truncate(duration=1.0)
    cut.start = start
    with pytest.raises(AudioError, match="where there is none"):
        load_audio(cut)


def test_pyav_reads_what_libsndfile_does_not(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        samples = sound(SECONDS, 44_100)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file = AudioFile.of(path)
    assert file.seconds == pytest.approx(SECONDS, abs=0.1)
    heard = torch.cat(list(file.chunks())).numpy()
    assert np.abs(np.fft.rfft(heard[2 * RATE : 3 * RATE])).argmax() == 440


def test_a_playlist_is_no_audio_whatever_it_names(tmp_path):
    """FFmpeg would open the files that it names: with an upload, any file of the server's."""
    secret = written(tmp_path / "secret.wav")
    for name, text in (
        ("a.ffconcat", f"ffconcat version 1.0\nfile {secret.name}\n"),
        ("a.m3u8", f"#EXTM3U\n#EXTINF:4,\n{secret}\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="can't be read as audio"):
            AudioFile.of(tmp_path / name)


@pytest.mark.parametrize("name", ["a.flac", "a.m4a"])
def test_of_a_file_that_is_too_long_no_more_is_decoded_than_it_may_have(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name == "a.flac":
        written(path, np.zeros(200 * RATE, np.int16))
    else:
        with av.open(path, "w") as container:
            stream = container.add_stream("aac", rate=RATE)
            for start in range(0, 200 * RATE, 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                container.mux(stream.encode(frame))
    decoded, add = [], decode.ChannelEnergy.add
    monkeypatch.setattr(decode.ChannelEnergy, "add", lambda self, block: (decoded.append(len(block)), add(self, block)))
    with pytest.raises(decode.AudioTooLong, match="too long"):
        AudioFile.of(path, "audio", most_seconds=20)
    assert sum(decoded) < 60 * RATE
    assert AudioFile.of(path, "audio", most_seconds=201).seconds == pytest.approx(200, abs=0.2)


def test_a_rate_whose_filter_takes_all_memory_is_refused(tmp_path):
    path = written(tmp_path / "a.wav", rate=RATE)
    whole = bytearray(path.read_bytes())
    whole[24:28] = struct.pack("<I", 2_000_000_000)
    path.write_bytes(bytes(whole))
    with pytest.raises(AudioError, match=r"a\.wav has [\d,]+ samples a second; from 100 to 1,000,000 are read"):
        AudioFile.of(path)


def test_blocks_of_many_channels_are_short_and_the_audio_is_the_same(tmp_path, monkeypatch):
    path = written(tmp_path / "a.wav", np.stack([sound()] * 8, axis=1))
    whole = torch.cat(list(AudioFile.of(path).chunks()))
    monkeypatch.setattr(decode, "BLOCK_SAMPLES", 8 * 1_000)
    file = AudioFile.of(path)
    assert {len(block) for block in file.blocks()} == {1_000} and torch.equal(torch.cat(list(file.chunks())), whole)
