"""Tiny folders in the published layout of the long-form transcription sets, for the tests of their recipes."""

import gzip
import json
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tone(path: Path, seconds: float = 1.0, rate: int = RATE, channels: int = 1, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.sin(np.arange(round(seconds * rate)) * 0.05, dtype=np.float32)
    soundfile.write(path, np.stack([samples] * channels, axis=1), rate, **options)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def librispeech_long(folder: Path) -> Path:
    """Four parts; in test-clean a chapter of either layout, a recording without transcript, and the other way round."""
    corpus = folder / "librispeech-long"
    for part in ("dev-clean", "dev-other", "test-other"):
        tone(corpus / part / "61" / "70968" / "70968_0000.flac")
        write(corpus / part / "61" / "70968" / "70968_0000.txt", f"words of {part}")
    own = corpus / "test-clean" / "84" / "121123"
    for number in range(3):
        tone(own / f"121123_{number:04d}.flac", 1 + number)
    write(own / "121123_0000.txt", "IT'S the first\n")
    write(own / "121123_0001.txt", "the second")
    write(own / "121123_0009.txt", "nobody reads this")
    like = corpus / "test-clean" / "908" / "31957"
    for number in range(2):
        tone(like / f"31957_{number:04d}.flac")
    write(like / "908-31957.trans.txt", "908-31957-0000 a line of LibriSpeech\n31957_0001 and one more\n")
    return corpus


def earnings22_cleaned(folder: Path, name: str = "metadata.jsonl") -> Path:
    """Three rows, one of whose recordings is missing."""
    rows = [
        {
            "id": f"44830{place}",
            "duration": 1.0,
            "transcript": f"Good morning, number {place}.",
            "language": "en",
            "url": f"audio/call{place}.mp3",
            "dataset": "earnings_22_full_test",
            "file_name": f"call{place}.mp3",
        }
        for place in range(3)
    ]
    for place in range(2):
        tone(folder / "audio" / f"call{place}.mp3", rate=24_000, channels=1 + place)
    write(folder / "README.md", "a card")
    write(folder / name, "".join(json.dumps(row) + "\n" for row in rows))
    return folder


def tedlium(folder: Path) -> Path:
    corpus = folder / "TEDLIUM_release-3"
    lines = (
        "Talk_{part} 1 Talk 0.00 1.00 <o,f0,male> they 're here <unk>\n"
        "Talk_{part} 1 Talk 1.00 2.00 <o,f0,male> ignore_time_segment_in_scoring\n"
        "Talk_{part} 1 Talk 2.00 3.00 <o,f0,male> and {{NOISE}} there\n"
    )
    for part in ("train", "dev", "test"):
        sphere = corpus / "legacy" / part / "sph" / f"Talk_{part}.sph"
        tone(sphere, 3.0, format="NIST", subtype="PCM_16")
        write(corpus / "legacy" / part / "stm" / f"Talk_{part}.stm", lines.format(part=part))
    return corpus


def ami(folder: Path) -> Path:
    """A meeting of each split by two speakers; in ES2004a they speak at once."""
    corpus = folder / "amicorpus"
    notes = corpus / "ami_public_manual_1.6.2"
    meetings = {"ES2002a": "train", "ES2011a": "dev", "ES2004a": "test"}
    speakers = "".join(
        f'<meeting observation="{name}"><speaker nxt_agent="A" global_name="MEE01" channel="0"/>'
        f'<speaker nxt_agent="B" global_name="FEE02" channel="1"/></meeting>'
        for name in meetings
    )
    write(notes / "corpusResources" / "meetings.xml", f"<meetings>{speakers}</meetings>")
    for name in meetings:
        tone(corpus / "wav_db" / name / "audio" / f"{name}.Mix-Headset.wav", 4.0)
        for agent, start, words in (("A", 0.5, ("well", "hello")), ("B", 1.0, ("mm", "yes"))):
            times = [(start + 0.6 * place, start + 0.6 * place + 0.5) for place in range(2)]
            spoken = "".join(
                f'<w starttime="{a}" endtime="{b}">{word}</w>' for (a, b), word in zip(times, words, strict=True)
            )
            write(notes / "words" / f"{name}.{agent}.words.xml", f"<words>{spoken}</words>")
            segment = f'<segment transcriber_start="{start}" transcriber_end="{start + 1.2}"/>'
            write(notes / "segments" / f"{name}.{agent}.segments.xml", f"<segments>{segment}</segments>")
    return corpus


def earnings(folder: Path, calls: int) -> Path:
    """As many calls as lhotse's recipe wants, all with the same sound."""
    sound = tone(folder / "media" / "4000000.mp3", 1.0, channels=2).read_bytes()
    rows = ["File ID,Company,File Length,Sampling Rate,Country,Dialect,Sector"]
    for place in range(calls):
        name = str(4_000_000 + place)
        (folder / "media" / f"{name}.mp3").write_bytes(sound)
        lines = f"token|speaker|ts|endTs|punctuation\nGood|1|||\nmorning|1|||,\ncall{place}|1|||.\n"
        write(folder / "transcripts" / "nlp_references" / f"{name}.nlp", lines)
        rows.append(f"{name},Firm,60,24000,Nigeria,African,Energy")
    write(folder / "metadata.csv", "\n".join(rows) + "\n")
    return folder


def voxpopuli(folder: Path) -> Path:
    """A plenary session of each split: two segments close to each other, one far off, one without words."""
    rows = ["session_id|id_|original_text|normed_text|speaker_id|gender|split|start_time|end_time"]
    for split in ("train", "dev", "test"):
        name = f"20090{len(split)}05-0900-PLENARY-{split}"
        tone(folder / "raw_audios" / "original" / "2009" / f"{name}_original.ogg", 30.0)
        for number, (start, end, text) in enumerate(
            [(1.0, 3.0, "first words"), (4.0, 6.0, "then more"), (20.0, 22.0, "much later"), (23.0, 24.0, "")]
        ):
            rows.append(f"{name}|{number}|{text.title()}.|{text}|12|male|{split}|{start}|{end}")
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / "asr_en.tsv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")
    return folder
