"""ManifestCorpus: cuts of given lhotse manifests, and clear errors for what is missing, empty, damaged or no cuts."""

import gzip

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment
from lhotse.utils import fastcopy

from speech_xl.data.manifests import ManifestCorpus


def cut(folder, name: str, rate: int = 16000) -> MonoCut:
    soundfile.write(folder / f"{name}.wav", np.full(rate, 0.25, dtype=np.float32), rate)
    recording = Recording.from_file(folder / f"{name}.wav", recording_id=name)
    said = SupervisionSegment(id=name, recording_id=name, start=0.0, duration=1.0, text=f"this is {name}")
    return MonoCut(id=name, start=0.0, duration=1.0, channel=0, recording=recording, supervisions=[said])


@pytest.fixture
def paths(tmp_path):
    paths = {}
    for split in ("train", "dev", "test"):
        paths[split] = str(tmp_path / f"cuts_{split}.jsonl.gz")
        CutSet.from_cuts([cut(tmp_path, f"{split}-{i}", 8000 if i else 16000) for i in range(2)]).to_file(paths[split])
    return paths


def test_cuts_are_read_and_resampled_lazily(paths):
    corpus = ManifestCorpus(**paths)
    corpus.prepare()
    for split in ("train", "dev", "test"):
        cuts = list(corpus.cuts(split))
        assert [c.id for c in cuts] == [f"{split}-0", f"{split}-1"]
        assert [c.supervisions[0].text for c in cuts] == [f"this is {split}-0", f"this is {split}-1"]
        assert all(c.sampling_rate == 16000 and c.load_audio().shape == (1, 16000) for c in cuts)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        corpus.cuts("valid")


def test_audio_dir_is_put_before_relative_paths(tmp_path, paths):
    item = cut(tmp_path, "train-0")
    item.recording.sources[0].source = "train-0.wav"
    CutSet.from_cuts([item]).to_file(paths["train"])
    (found,) = ManifestCorpus(**paths, audio_dir=str(tmp_path)).cuts("train")
    assert found.load_audio().shape == (1, 16000)


def test_a_missing_manifest_is_told_before_training(tmp_path, paths):
    corpus = ManifestCorpus(**(paths | {"dev": str(tmp_path / "none.jsonl")}))
    with pytest.raises(FileNotFoundError, match=r"dev: .*none\.jsonl is missing; give the path"):
        corpus.prepare()


@pytest.mark.parametrize("name", ["empty.jsonl", "empty.jsonl.gz"])
def test_an_empty_manifest(tmp_path, paths, name):
    path = tmp_path / name
    (gzip.open if name.endswith("gz") else open)(path, "w").close()
    with pytest.raises(ValueError, match=rf"test: .*{name} is empty; write at least one cut"):
        ManifestCorpus(**(paths | {"test": str(path)})).prepare()


@pytest.mark.parametrize("name", ["damaged.jsonl", "damaged.jsonl.gz", "damaged.txt"])
def test_a_damaged_manifest(tmp_path, paths, name):
    (tmp_path / name).write_text('{"id": "a", \n')
    with pytest.raises(ValueError, match=rf"train: .*{name}(:1)? cannot be read .*CutSet.to_file"):
        ManifestCorpus(**(paths | {"train": str(tmp_path / name)})).prepare()


def test_a_manifest_of_recordings_is_no_manifest_of_cuts(tmp_path, paths):
    path = tmp_path / "recordings.jsonl.gz"
    RecordingSet.from_recordings([cut(tmp_path, "a").recording]).to_file(path)
    with pytest.raises(ValueError, match="Recording a is no cut; make cuts with"):
        ManifestCorpus(**(paths | {"train": str(path)})).prepare()


def test_cuts_without_audio_or_with_one_id_twice(tmp_path, paths):
    path = tmp_path / "cuts.jsonl"
    item = cut(tmp_path, "a").to_dict()
    CutSet.from_dicts([{k: v for k, v in item.items() if k != "recording"}]).to_file(path)
    with pytest.raises(ValueError, match="MonoCut a has no recording"):
        ManifestCorpus(**(paths | {"train": str(path)})).prepare()
    path.write_text(path.read_text())
    from lhotse.serialization import save_to_jsonl

    save_to_jsonl([item, item], path)
    with pytest.raises(ValueError, match="MonoCut a is there twice"):
        ManifestCorpus(**(paths | {"train": str(path)})).prepare()


def changed(tmp_path, name: str, **changes) -> MonoCut:
    """A cut of a second whose only utterance is otherwise."""
    item = cut(tmp_path, name)
    item.supervisions = [fastcopy(item.supervisions[0], **changes)]
    return item


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"duration": 2.5}, r"supervision dev-9, 0\.00 to 2\.50 s, reaches beyond the cut's 1\.00 s; trim it"),
        ({"start": -0.5}, r"-0\.50 to 0\.50 s, reaches beyond"),
        ({"text": "  "}, r"has an empty text; write what is said"),
    ],
)
def test_a_misplaced_utterance_is_told_before_training(tmp_path, paths, changes, message):
    CutSet.from_cuts([changed(tmp_path, "dev-9", **changes)]).to_file(paths["dev"])
    with pytest.raises(ValueError, match=rf"dev: .*MonoCut dev-9: .*{message}"):
        ManifestCorpus(**paths).prepare()


def test_people_who_speak_at_once_and_recordings_in_two_splits_are_told(tmp_path, paths):
    both = cut(tmp_path, "train-7")
    both.supervisions = [fastcopy(both.supervisions[0], id=f"s{n}", start=n * 0.3, duration=0.5) for n in range(2)]
    CutSet.from_cuts([both]).to_file(paths["train"])
    CutSet.from_cuts([cut(tmp_path, "train-7"), cut(tmp_path, "dev-1")]).to_file(paths["dev"])
    with pytest.warns(UserWarning) as told:
        ManifestCorpus(**paths).prepare()
    said = [str(one.message) for one in told]
    assert any("train: in 1 of 1 cuts, such as train-7, people speak at once" in one for one in said)
    assert any("recording train-7 is in train and in dev (of all that are in both: 1)" in one for one in said)
    assert len(said) == 2
