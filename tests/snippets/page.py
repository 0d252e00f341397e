"""The blocks of one page, run one after the other in one folder."""

import json
import textwrap
from pathlib import Path

import yaml

from tests.snippets.blocks import ROOT, Block
from tests.snippets.commands import Commands
from tests.snippets.shell import Failed, Shell, working_in

TEXT = ("", "text")  # blocks that show something and ask for nothing
# Stages that a page's overlays lie over, where it isn't stage 1.
OVERLAY_OF = {"docs/extensions/contrastive.md": "stage2.yaml"}


class Page:
    """The blocks of one page, one after the other in one folder."""

    def __init__(self, place: Path, commands: Commands, mode: str) -> None:
        self.place, self.commands = place, commands
        self.shell = Shell(place, commands, mode, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
        self.names: dict[str, object] = {"__name__": "__main__"}

    def run(self, block: Block) -> None:
        if block.not_run or block.language in TEXT:
            return
        kinds = {"bash": self.bash, "python": self.python, "yaml": self.yaml, "json": self.json}
        assert block.language in kinds, f"{block.name}: no way to run {block.language}; see tests/snippets"
        try:
            kinds[block.language](block)
        except Exception as error:
            raise Failed(f"{block.name}: {error}\n{textwrap.indent(block.text, '    ')}") from error

    def bash(self, block: Block) -> None:
        self.shell.block(block.text)

    def python(self, block: Block) -> None:
        text = block.text.replace("127.0.0.1:8000", f"127.0.0.1:{self.shell.port}")
        if self.shell.mode == "rehearse":
            text = text.replace("REHEARSE = []", 'REHEARSE = ["--rehearse"]')
        with working_in(self.place):
            exec(compile("\n" * (block.line - 1) + text, block.page, "exec"), self.names)

    def yaml(self, block: Block) -> None:
        content = yaml.safe_load(block.text)
        first = block.text.partition("\n")[0].removeprefix("# ")
        name = first if first.endswith(".yaml") and " " not in first else "overlay.yaml"
        (self.place / name).write_text(block.text, encoding="utf-8")
        whole = "compare" in content
        command = ["fit", "-c", name] if whole else ["fit", "-c", OVERLAY_OF.get(block.page, "stage1.yaml"), "-c", name]
        with working_in(self.place):
            self.commands.experiment(command, "check")
            if whole:
                self.commands.experiment(["compare", "-c", name], "check")

    def json(self, block: Block) -> None:
        try:
            json.loads(block.text)
        except ValueError:
            for line in block.text.splitlines():
                json.loads(line)
