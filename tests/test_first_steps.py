"""docs/first_steps.md is short. tests/snippets/test_rehearsal.py follows it from the folder to the model."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "first_steps.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.S) for line in block.splitlines() if line]


def test_there_are_at_most_five_commands_from_the_folder_to_the_model():
    needed = [line for line in COMMANDS if not line.startswith(("pip", "tensorboard"))]
    assert len(needed) <= 5 and needed[0].startswith("cp ")
