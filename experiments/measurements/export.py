"""Models that are given away and loaded in a new process: logits, answers and bytes against those they came from.

python experiments/measurements/export.py --encoder WHISPER_BASE --audio A.flac B.flac

The shipped stage with its real encoder, whole and apart, on recordings; and a tiny random stage with LoRA, whole, apart
and with LoRA merged, on noise. Writes docs/results/export.json.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.measurements.record import ROOT, publish
from experiments.random_models import audio
from experiments.random_stages import run_folder
from speech_xl import SpeechXL
from speech_xl.hub.export import export

SHIPPED = ROOT / "experiments" / "trained" / "read_speech"
RATIOS = (4, 8)
TINY_TOKENS = 24
CARD = "README.md"


@torch.no_grad()
def given_by(model: SpeechXL, files: list[str]) -> tuple[dict[str, Tensor], list[str]]:
    """A model's tensors and logits, and its transcripts of files, or its answers about noise where there are none."""
    sounds: list[Any] = list(files) or [audio(1.3, seed=0), audio(1.8, seed=1)]
    rate = None if files else 16_000
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    asked, answers = model.transcript.instruction, []
    for ratio in RATIOS:
        inputs: Any = model.processor(audio=sounds, text=asked, ratio=ratio, sampling_rate=rate)
        tensors[f"logits_{ratio}"] = model(**inputs).logits
        for sound in sounds:
            memory = model.listen(sound, rate=rate, ratio=ratio)
            answers.append(memory.ask(asked, None if files else TINY_TOKENS).text)
    return tensors, answers


def fresh(folder: Path, out: Path, files: list[str], bases: dict[str, str]) -> tuple[dict[str, Tensor], list[str]]:
    """What the model in `folder` gives in a new process."""
    words = [sys.executable, "-m", "experiments.measurements.export", "--give", str(folder), str(out)]
    words += [f"--{role}={path}" for role, path in bases.items()] + (["--audio", *files] if files else [])
    subprocess.run(words, cwd=ROOT, check=True)
    return load_file(out / "tensors.safetensors"), json.loads((out / "answers.json").read_text())


def give(folder: Path, out: Path, files: list[str], bases: dict[str, Any]) -> None:
    """In the new process."""
    model = SpeechXL.from_pretrained(folder, **bases)
    tensors, answers = given_by(model, files)
    save_file(tensors, out / "tensors.safetensors")
    (out / "answers.json").write_text(json.dumps(answers))
    model.save_pretrained(out / "again")


def row(
    name: str, form: str, own: tuple[dict[str, Tensor], list[str]], folder: Path, files: list[str], bases: Any
) -> Any:
    """One folder against the model that it was made from."""
    with tempfile.TemporaryDirectory() as out:
        tensors, answers = fresh(folder, Path(out), files, bases)
        again = Path(out) / "again"
        differ = [path.name for path in again.iterdir() if not filecmp.cmp(path, folder / path.name, shallow=False)]
    largest = {key: float((tensors[key] - own[0][key]).abs().max()) for key in tensors if key.startswith("logits")}
    shared = tensors.keys() & own[0].keys() - largest.keys()
    return {
        "model": name,
        "form": form,
        "mib": round(sum(path.stat().st_size for path in folder.iterdir()) / 2**20, 2),
        "tensors": len(tensors) - len(largest),
        "tensors_differ": sum(not tensors[key].equal(own[0][key]) for key in shared),
        "max_logit_difference": max(largest.values()),
        "largest_logit": max(float(own[0][key].abs().max()) for key in largest),
        "answers": len(answers),
        "answers_equal": sum(one == other for one, other in zip(answers, own[1], strict=True)),
        "answer_characters": sum(map(len, answers)),
        "files_differ_saved_again": len(differ),
    }


def measured(place: Path, encoder: str, files: list[str]) -> list[dict[str, Any]]:
    bases: dict[str, Any] = {"encoder": encoder}
    shipped = SpeechXL.from_pretrained(SHIPPED, **bases)
    own = given_by(shipped, files)
    rows = [row("shipped stage", "apart", own, SHIPPED, files, bases)]
    shipped.config.base_models = {}
    shipped.save_pretrained(place / "read_speech")
    rows.append(row("shipped stage", "whole", own, place / "read_speech", files, {}))
    run = run_folder(place / "tiny", lora=True)
    own = given_by(SpeechXL.from_stage(run), [])
    where = {role: str(place / "tiny" / role) for role in ("encoder", "llm")}
    names = {role: f"tiny/{role}" for role in where}
    forms: dict[str, dict[str, Any]] = {
        "whole": {},
        "apart": {"apart": True, "names": names},
        "merged": {"merge_lora": True},
    }
    for form, options in forms.items():
        export(run, place / form, **options)
        rows.append(row("tiny, LoRA", form, own, place / form, [], where if form == "apart" else {}))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", help="folder of Whisper-base, as Hugging Face has it")
    parser.add_argument("--audio", nargs="*", default=[], help="recordings of read English")
    parser.add_argument("--llm", help=argparse.SUPPRESS)
    parser.add_argument("--give", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.give:
        bases = {role: path for role in ("encoder", "llm") if (path := getattr(given, role))}
        folder, out = given.give
        give(folder, out, given.audio, bases)
        return
    if not given.encoder or not given.audio:
        parser.error("give --encoder and --audio")
    with tempfile.TemporaryDirectory() as place:
        files = [str(Path(path).resolve()) for path in given.audio]
        rows = measured(Path(place), str(Path(given.encoder).resolve()), files)
    exact, merged = [one for one in rows if one["form"] != "merged"], [one for one in rows if one["form"] == "merged"]
    summary = {
        "forms": len({one["form"] for one in rows}),
        "max_logit_difference": max(one["max_logit_difference"] for one in exact),
        "tensors_differ": sum(one["tensors_differ"] for one in exact),
        "answers": sum(one["answers"] for one in rows),
        "answers_equal": sum(one["answers_equal"] for one in rows),
        "files_differ_saved_again": sum(one["files_differ_saved_again"] for one in rows),
        "merged_max_logit_difference": max(one["max_logit_difference"] for one in merged),
        "merged_largest_logit": max(one["largest_logit"] for one in merged),
    }
    data = f"{len(given.audio)} recordings of LibriSpeech's dev-clean; noise for the tiny stage"
    publish(__file__, summary, data=data, items=summary["answers"], rows=rows)


if __name__ == "__main__":
    main()
