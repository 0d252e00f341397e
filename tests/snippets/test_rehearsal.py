"""Pages whose commands train: each is followed for real, with two steps of every stage (SNIPPETS=rehearse)."""

import json
import shutil

import huggingface_hub.constants
import pytest

from speech_xl.run import lineage
from tests.snippets.blocks import ROOT, blocks_of
from tests.snippets.commands import Commands
from tests.snippets.page import Page
from tests.snippets.sandbox import make_hub, make_place

pytestmark = pytest.mark.slow  # minutes; run it before a release

FROM_NOTHING = ["README.md", "docs/first_steps.md", "docs/notebooks/train.md"]  # these train what they use
FROM_STAGES = ["docs/evaluation.md", "docs/running.md", "docs/models.md", "docs/extensions/timestamps.md"]


@pytest.fixture(scope="module", autouse=True)
def hub(tmp_path_factory):
    cache = tmp_path_factory.mktemp("hub")
    make_hub(cache, training=True)
    patch = pytest.MonkeyPatch()
    patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    patch.setenv("HF_HUB_CACHE", str(cache))  # stages that are trained first run in processes of their own
    patch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    patch.setattr(lineage, "built_differences", lambda *_: [])  # the shipped stage knows Whisper-base's weights
    yield cache
    patch.undo()


@pytest.fixture(scope="module")
def commands(parser, evaluation_parser):
    return Commands(parser, evaluation_parser)


@pytest.fixture(scope="module")
def with_stages(tmp_path_factory, commands):
    """A place in which the three default stages are trained."""
    place = make_place(tmp_path_factory.mktemp("place"), "rehearse")
    page = Page(place, commands, "rehearse")
    page.shell.block("python experiments/run.py fit -c stage3.yaml")
    page.shell.close()
    return place


@pytest.mark.parametrize("name", [*FROM_NOTHING, *FROM_STAGES])
def test_a_page_is_followed_to_its_end(name, commands, request, tmp_path):
    place = tmp_path / "place"
    if name in FROM_NOTHING:
        place.mkdir()
        make_place(place, "rehearse")
    else:
        shutil.copytree(request.getfixturevalue("with_stages"), place, symlinks=True)
    page = Page(place, commands, "rehearse")
    try:
        for block in blocks_of(ROOT / name):
            page.run(block)
    finally:
        page.shell.close()
    if name == "docs/first_steps.md":
        rows = json.loads((place / "runs" / "mine" / "compare" / "ratios.json").read_text())["rows"]
        assert {row["ratio"] for row in rows if row["method"] == "SSTs"} == {2, 4, 8}
        for stage in ("align", "sst", "pooled"):
            assert (place / "runs" / "mine" / stage / "weights.safetensors").is_file()
