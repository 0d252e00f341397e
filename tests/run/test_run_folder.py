"""Run folders: one process at a time, earlier runs set aside whole, and no kill that mixes two of them."""

import subprocess
import sys
from pathlib import Path

import pytest

from speech_xl.run.chain import claimed
from speech_xl.run.command import Command, ConfigError
from speech_xl.run.run_folder import RunFolder

HOLD = """
import sys
from pathlib import Path
from speech_xl.run.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def finished(path: Path) -> RunFolder:
    folder = RunFolder(path)
    for file, text in ((folder.weights, "weights"), (folder.config, "config"), (folder.last, "last")):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_a_second_process_is_refused_until_the_first_one_is_gone(tmp_path):
    folder = RunFolder(tmp_path / "default" / "one")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(RuntimeError, match=rf"another process .*{holder.pid}.*--variant NAME"), folder.locked():
        pass
    holder.kill()
    holder.wait()
    with folder.locked():
        pass


def test_an_earlier_run_is_set_aside_in_one_piece(tmp_path):
    folder = finished(tmp_path / "one")
    places = [folder.set_aside()]
    assert not folder.path.exists()
    finished(folder.path)
    places.append(folder.set_aside())
    assert places == [tmp_path / "one-earlier-1", tmp_path / "one-earlier-2"]
    assert all(RunFolder(place).last.read_text() == "last" for place in places if place)
    assert folder.set_aside() is None


def test_weights_of_a_run_that_goes_on_are_set_aside_with_their_configuration(tmp_path):
    folder = finished(tmp_path / "one")
    place = folder.set_weights_aside()
    assert place == tmp_path / "one-earlier-1"
    assert RunFolder(place).weights.read_text() == "weights" and RunFolder(place).config.read_text() == "config"
    assert not folder.finished and folder.last.is_file() and folder.config.is_file()


FINISHED = {
    "anew": ([], False, "one is finished: .*--overwrite"),
    "on request": ([], True, None),
    "its own checkpoint": (["--ckpt_path", "default/one/checkpoints/last.ckpt"], False, None),
    "another run's checkpoint": (["--ckpt_path", "other.ckpt"], False, "of another run than default/one.*--overwrite"),
    "another's on request": (["--ckpt_path", "other.ckpt"], True, None),
    "rehearsed": (["--trainer.fast_dev_run", "true"], False, None),
    "not rehearsed": (["--trainer.fast_dev_run", "False"], False, "one is finished"),
    "nor so": (["--trainer.fast_dev_run=no"], False, "one is finished"),
}


@pytest.mark.parametrize("case", FINISHED)
def test_a_finished_stage_is_trained_anew_only_on_request(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    flags, overwrite, refused = FINISHED[case]
    finished(Path("default/one"))
    command = Command("fit", [Path("one.yaml")], flags, "one", "default", Path(), None, overwrite=overwrite)
    if refused is None:
        with claimed(command):
            return
    with pytest.raises(ConfigError, match=refused), claimed(command):
        pass


def test_what_a_run_starts_from_is_not_set_aside_with_its_folder(tmp_path):
    start = str(finished(tmp_path / "default" / "one").weights)
    command = Command("fit", [Path("one.yaml")], [], "one", "default", tmp_path, start, overwrite=True)
    with pytest.raises(ConfigError, match="lies in the folder of this very stage"), claimed(command):
        pass


def test_other_ranks_leave_the_folder_to_the_first(tmp_path, monkeypatch):
    finished(tmp_path / "default" / "one")
    monkeypatch.setenv("LOCAL_RANK", "1")
    with claimed(Command("fit", [Path("one.yaml")], [], "one", "default", tmp_path, None)):
        assert not list(tmp_path.rglob("*.lock"))


def test_what_a_killed_run_left_half_written_is_taken_away(tmp_path):
    folder = finished(tmp_path / "one")
    drafts = [folder.path / ".weights.safetensors.1-ab.part", folder.last.parent / ".last.ckpt.1-ab.part"]
    for draft in drafts:
        draft.touch()
    folder.remove_drafts()
    assert not any(draft.exists() for draft in drafts) and folder.last.is_file() and folder.finished
