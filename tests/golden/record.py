"""Records the golden values of this folder, after a change that is meant to change them.

python -m tests.golden.record losses
python -m tests.golden.record shipped WHISPER_BASE DEV_CLEAN    encoder's folder, folder of LibriSpeech's dev-clean
python -m tests.golden.record transcripts                       of the frames that are here already
python -m tests.golden.record exactness
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file

from speech_xl.evaluation.metrics import wer_counts
from speech_xl.model import HFEncoder
from tests.golden.conditions import ROOT, commit, conditions
from tests.golden.losses import HERE, train_apart
from tests.golden.shipped import FRAMES, RATIOS, TRANSCRIPT, transcripts, without_whisper

UTTERANCES = ("1272-128104-0000", "1272-128104-0001")  # LibriSpeech dev-clean, CC BY 4.0, one after the other


def origin(what: str) -> dict[str, Any]:
    return {"command": f"python -m tests.golden.record {what}", "commit": commit(), "conditions": conditions()}


def write(path: Path, entry: dict[str, Any]) -> None:
    path.write_text(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")
    print(f"written: {path}")


def record_losses() -> None:
    """Twice, in folders of their own: only equal losses are worth recording."""
    about, runs = origin("losses"), []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(train_apart(Path(folder)))
    if runs[0] != runs[1]:
        raise ValueError(f"two runs differ, nothing was recorded:\n{runs[0]}\n{runs[1]}")
    write(HERE / "losses.json", about | runs[0])


def record_shipped(whisper: Path, dev: Path) -> None:
    """Frames of the utterances as one audio, then the stage's transcripts of them."""
    torch.set_num_threads(1)
    audio, texts = [], []
    for name in UTTERANCES:
        speaker, chapter, _ = name.split("-")
        folder = dev / speaker / chapter
        audio.append(soundfile.read(folder / f"{name}.flac", dtype="float32")[0])
        lines = (folder / f"{speaker}-{chapter}.trans.txt").read_text().splitlines()
        texts += [line.split(" ", 1)[1].lower() for line in lines if line.startswith(f"{name} ")]
    encoder = HFEncoder(str(whisper), overlap_seconds=1.0)
    encoder.build([-1])
    frames = encoder.encode([torch.from_numpy(np.concatenate(audio))])[0].half()
    save_file({"frames": frames.contiguous()}, FRAMES)
    record_transcripts(" ".join(texts))


def record_transcripts(reference: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = transcripts(without_whisper(Path(folder)), load_file(FRAMES)["frames"])
    rates = {str(ratio): wer_counts(reference, found[str(ratio)]) for ratio in RATIOS}
    about = origin("shipped WHISPER_BASE DEV_CLEAN")
    values = {
        "audio": f"LibriSpeech dev-clean {' and '.join(UTTERANCES)}, one after the other (CC BY 4.0)",
        "frames": "Whisper-base, last layer, float16",
        "reference": reference,
        "transcripts": found,
        "wer": {ratio: errors / words for ratio, (errors, words) in rates.items()},
    }
    write(TRANSCRIPT, about | values)


def record_exactness() -> None:
    about = origin("exactness")
    with tempfile.TemporaryDirectory() as folder:
        benchmark = [sys.executable, "experiments/measurements/exactness.py", "--out", folder]
        subprocess.run(benchmark, cwd=ROOT, check=True)
        table = json.loads((Path(folder) / "results" / "exactness.json").read_text())
    write(HERE / "exactness.json", about | {key: table[key] for key in ("data", "summary", "rows", "controls")})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    values = parser.add_subparsers(dest="values", required=True)
    for name in ("losses", "transcripts", "exactness"):
        values.add_parser(name)
    shipped = values.add_parser("shipped")
    shipped.add_argument("whisper", type=Path, help="Whisper-base, as Hugging Face has it")
    shipped.add_argument("dev", type=Path, help="LibriSpeech's dev-clean: SPEAKER/CHAPTER/*.flac and *.trans.txt")
    given = parser.parse_args()
    if given.values == "losses":
        record_losses()
    elif given.values == "shipped":
        record_shipped(given.whisper, given.dev)
    elif given.values == "transcripts":
        record_transcripts(json.loads(TRANSCRIPT.read_text())["reference"])
    else:
        record_exactness()


if __name__ == "__main__":
    main()
