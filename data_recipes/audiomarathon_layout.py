"""Where AudioMarathon's tasks lie in an unpacked folder: their files are found by name, some folders deep."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)
DEPTH = 4  # folders below the corpus folder in which files are looked for
MANIFESTS = {
    "SCR": "race_benchmark.json",
    "SER": "merged_audio_data.json",
    "SED": "desed_sound_event_detection_task.json",
    "MC": "music_genre_classification_meta.json",
    "ASC": "acoustic_scene_task_meta.json",
    "ER": "audio_emotion_dataset.json",
    "SAR": "age_classification_task_meta.json",
    "SGR": "gender_id_task_meta.json",
}
IN_WAV = ("MC", "SAR", "SGR")  # whose paths start in the folder wav beside the manifest
FOLDERS = {
    "ASR": "librispeech-long/test-clean/ with .flac files, and .txt or .trans.txt files beside them",
    "SD": "HAD/concatenated_audio/ with the folders real/ and fake/",
}


@dataclass(frozen=True)
class Layout:
    """What was found: task -> its manifest, and the folders of the two tasks that have none."""

    manifests: dict[str, Path]
    folders: dict[str, Path]

    def __contains__(self, task: str) -> bool:
        return task in self.manifests or task in self.folders


def looked_for(task: str) -> str:
    """What a task's files are called."""
    return MANIFESTS.get(task) or FOLDERS[task]


def find_layout(corpus_dir: Path) -> Layout:
    """Look for the tasks' files. Where one is there several times, the first one counts, and a warning names it."""
    manifests: dict[str, list[Path]] = {}
    folders: dict[str, list[Path]] = {}
    names = {name: task for task, name in MANIFESTS.items()}
    for top, below, files in os.walk(corpus_dir, followlinks=True):
        folder = Path(top)
        depth = len(folder.relative_to(corpus_dir).parts)
        below[:] = [] if depth >= DEPTH else sorted(name for name in below if not name.startswith("."))
        for name in sorted(names.keys() & set(files)):
            manifests.setdefault(names[name], []).append(folder / name)
        above = folder.absolute().relative_to(corpus_dir.absolute().parent).parts
        if {"real", "fake"} <= set(below) and any(name.lower().startswith("had") for name in above):
            folders.setdefault("SD", []).append(folder)
        if folder.name == "test-clean" and "long" in folder.parent.name.lower():
            folders.setdefault("ASR", []).append(folder)
    return Layout(_first(manifests), _first(folders))


def _first(found: dict[str, list[Path]]) -> dict[str, Path]:
    for task, paths in found.items():
        paths.sort(key=lambda path: (len(path.parts), path))
        if len(paths) > 1:
            logger.warning("AudioMarathon: %s is there %d times; %s is read", looked_for(task), len(paths), paths[0])
    return {task: paths[0] for task, paths in found.items()}
