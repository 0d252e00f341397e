"""experiments/plot_run.py on event files made here: what it reads, what it draws, what it says of nothing."""

import matplotlib.image
import pytest
from torch.utils.tensorboard import SummaryWriter

from experiments.plot_run import SUBJECTS, draw, main, read_runs


def write(folder, scalars, steps, suffix=""):
    with SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        for step in steps:
            for tag, value in scalars.items():
                writer.add_scalar(tag, value(step), step)


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "default"
    write(folder / "stage1", {"train/loss": lambda s: 5 / (1 + s), "val/wer_1x": lambda s: 1 / (1 + s)}, range(60))
    compression = {
        "train/loss": lambda s: 2 / (1 + s),
        "val/wer_1x": lambda s: 0.1,
        "val/wer_16x": lambda s: 0.5,
        "val/qa_4x": lambda s: 0.9,
        "curriculum/max_ratio": lambda s: 2.0 ** (1 + s // 5),
        "memory/host_rss_bytes": lambda s: 1e9 + s,
        "memory/kept_kv_tokens": lambda s: 100.0,
        "memory/kept_kv_bytes_per_audio_second/2x": lambda s: 4e4,
        "memory/kept_kv_bytes_per_audio_second/4x": lambda s: 2e4,
        "throughput/audio_seconds": lambda s: 1.0,
    }
    write(folder / "stage3", compression, range(20))
    return folder


def test_every_subject_is_drawn(run, tmp_path, capsys):
    assert main([str(run), "--out", str(tmp_path / "pictures"), "--prefix", "a_"]) == 0
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["a_curriculum.png", "a_loss.png", "a_memory.png", "a_qa.png", "a_wer.png"]
    for path in (tmp_path / "pictures").iterdir():
        picture = matplotlib.image.imread(path)
        assert min(picture.shape[:2]) > 200 and picture[..., :3].std() > 0.01  # not blank
    assert "a_wer.png" in capsys.readouterr().out


def test_runs_are_named_by_folder_and_keep_every_point(run):
    runs = read_runs([run])
    assert sorted(runs) == ["default/stage1", "default/stage3"]
    steps, values = runs["default/stage1"]["train/loss"]
    assert steps == list(range(60)) and values[1] == pytest.approx(2.5)


def test_a_resumed_run_counts_repeated_steps_once_as_done_last(tmp_path):
    write(tmp_path / "run", {"train/loss": lambda s: 1.0}, range(10))
    write(tmp_path / "run", {"train/loss": lambda s: 2.0}, range(6, 12), suffix=".resumed")
    steps, values = read_runs([tmp_path / "run"])["run"]["train/loss"]
    assert steps == list(range(12)) and values == [1.0] * 6 + [2.0] * 6


def test_a_subject_nobody_logged_makes_no_file(tmp_path):
    write(tmp_path / "run", {"train/loss": lambda s: 1.0}, range(3))
    runs = read_runs([tmp_path / "run"])
    drawn = {s.name: draw(s, runs, tmp_path / "out" / f"{s.name}.png") for s in SUBJECTS}
    assert drawn == {"loss": True, "wer": False, "qa": False, "curriculum": False, "memory": False}
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["loss.png"]


def test_a_wrong_folder_is_named(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere"), "--out", str(tmp_path)]) == 1
    assert "nowhere" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), "--out", str(tmp_path)]) == 1
    assert "event files" in capsys.readouterr().err
