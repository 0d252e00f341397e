"""docs/first_steps.md as a newcomer follows it: its commands and experiments/own_folder.yaml, on a folder of tones.

Only what has to be downloaded is replaced: the encoder and the LLM by tiny ones, and steps are few.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from experiments.random_models import encoder_folder, llm_folder

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "first_steps.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line]
FEW = "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.accelerator cpu --data.num_workers 0"


def recordings(folder: Path, number: int) -> None:
    """Tones of three seconds; half with subtitles, half with a text."""
    folder.mkdir(parents=True)
    for place in range(number):
        tone = 0.1 * np.sin(np.arange(48_000) * (0.02 + 0.002 * place))
        path = folder / f"talk{place}.flac"
        soundfile.write(path, tone, 16_000)
        if place % 2:
            path.with_suffix(".txt").write_text("one two\nthree")
        else:
            cues = "1\n00:00:00,200 --> 00:00:01,400\none two\n\n2\n00:00:01,600 --> 00:00:02,900\nthree\n"
            path.with_suffix(".srt").write_text(cues)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where a newcomer stands after step 3: a folder of recordings, and a copy of the experiment file."""
    place = tmp_path_factory.mktemp("newcomer")
    for split, number in (("train", 6), ("dev", 2), ("test", 2)):
        recordings(place / "my_recordings" / split, number)
    (copy,) = [shlex.split(line) for line in COMMANDS if line.startswith("cp ")]
    text = (ROOT / copy[1]).read_text(encoding="utf-8")
    for name, folder in (
        ("openai/whisper-base", encoder_folder(place / "encoder")),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", llm_folder(place / "llm")),
    ):
        assert name in text
        text = text.replace(name, str(folder))
    (place / copy[2]).write_text(text)
    return place


def run(place: Path, command: str) -> str:
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    words = [str(ROOT / word) if word == "experiments/run.py" else word for word in words]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(
        words, cwd=place, capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def test_there_are_at_most_five_commands_from_the_folder_to_the_model():
    needed = [line for line in COMMANDS if not line.startswith(("pip", "tensorboard"))]
    assert len(needed) <= 5 and needed[0].startswith("cp ")


@pytest.mark.slow  # two minutes of subprocesses; run it before a release
def test_a_folder_becomes_a_compared_listening_model(place):
    fit, compare = (next(c for c in COMMANDS if f"run.py {name} -c" in c) for name in ("fit", "compare"))
    run(place, f"{fit} {FEW}")
    for stage in ("align", "sst", "pooled"):
        assert (place / "runs" / "mine" / stage / "weights.safetensors").is_file()
    run(place, compare)
    rows = json.loads((place / "runs" / "mine" / "compare" / "ratios.json").read_text())["rows"]
    assert {row["ratio"] for row in rows if row["method"] == "SSTs"} == {2, 4, 8}
    assert (place / "runs" / "mine" / "compare" / "ratios.md").is_file()
    (listen,) = [c for c in COMMANDS if "speech_xl.listen" in c]
    heard = run(place, listen.replace("monday.flac", "test/talk0.flac") + " --limit 4")
    assert "talk0.flac" in heard or heard.strip()
