"""Small folders in the published layout of LongSpeech and AudioMarathon, with generated sounds in place of speech."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


@dataclass
class Written:
    """What a folder holds, as a recipe should find it.

    items      of the test split: task -> (audio path, prompt as published or None, answer, language) of those that can
               be asked, in the rows' order
    missing    of the test split: task -> reason -> rows
    filtered   task -> rule -> rows
    audio      path -> (seconds, rate, channels)
    """

    path: Path
    items: dict[str, list[tuple[str, str | None, str, str | None]]] = field(default_factory=dict)
    missing: dict[str, dict[str, int]] = field(default_factory=dict)
    filtered: dict[str, dict[str, int]] = field(default_factory=dict)
    audio: dict[str, tuple[float, int, int]] = field(default_factory=dict)

    @property
    def here(self) -> dict[str, int]:
        return {task: len(items) for task, items in self.items.items()}

    def copied(self, path: Path) -> Written:
        """The same in another folder."""
        shutil.copytree(self.path, path)
        return replace(copy.deepcopy(self), path=path)

    def sound(self, name: str, seconds: float, rate: int = 16_000, channels: int = 1) -> None:
        """A tone in noise, by the file's name."""
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        times = np.arange(round(seconds * rate)) / rate
        tone = 0.3 * np.sin(2 * np.pi * rng.uniform(150, 900) * times)
        samples = tone[:, None] + 0.02 * rng.standard_normal((len(times), channels))
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples.astype(np.float32), rate, subtype="PCM_16")
        self.audio[name] = (len(times) / rate, rate, channels)

    def lacking(self, published: dict[str, int]) -> dict[str, dict[str, int]]:
        """Task -> reason -> items that aren't here, as coverage counts them beside the published ones."""
        found = {task: dict(reasons) for task, reasons in self.missing.items()}
        for task, count in published.items():
            reason = "short of the published count after filtering" if task in self.filtered else NO_ROW
            found.setdefault(task, {})[reason] = count - self.here[task] - sum(self.missing.get(task, {}).values())
        return found

    def lose(self, task: str, reason: str, count: int = 1) -> None:
        self.missing.setdefault(task, {})[reason] = self.missing.get(task, {}).get(reason, 0) + count


# LongSpeech

NO_ROW = "not among the rows of the file"
P1, P2 = "LongSpeech_p1/wavs/part_00", "LongSpeech_p2/wavs/part_01"
STORY, TALK, STEREO, LOST = f"{P1}/000901.wav", f"{P1}/005310.wav", f"{P1}/000017.wav", f"{P1}/000002.wav"
CHINESE, JAPANESE, ITALIAN = f"{P2}/012345.wav", f"{P2}/012346.wav", f"{P1}/009002.wav"
TEST_ROWS: dict[str, list[tuple[str, Any, Any, str]]] = {  # task -> (audio, prompt, answer, language)
    "ASR": [
        (STORY, "Detect the language and recognize the speech: <|en|>", "The lamp was out. Nobody had noticed.", "en"),
        (
            CHINESE,
            "Detect the language and recognize the speech: <|zh-CN|>",
            "今天的会议改到下午。 请准时参加。",
            "zh-CN",
        ),
        (JAPANESE, "Detect the language and recognize the speech: <|ja|>", "駅前の店は九時に開きます。", "ja"),
        (STEREO, "Detect the language and recognize the speech: <|en|>", "Twenty-one boats left the harbour.", "en"),
        (LOST, "Detect the language and recognize the speech: <|en|>", "This recording is lost.", "en"),
    ],
    "translation": [
        (STORY, ["Traduisez en français ce que vous entendez."], "La lampe était éteinte.", "fr"),
        (STORY, ["Übersetzen Sie das Gehörte ins Deutsche."], "Die Lampe war aus.", "de"),
        (TALK, ["把听到的内容翻译成中文。"], "演讲者讲述了一座桥。", "zh-CN"),
        (TALK, ["聞いた内容を日本語に訳してください。"], "話し手は橋について話す。", "ja"),
        (LOST, ["Traduzca al español lo que oye."], "La grabación se perdió.", "es"),
    ],
    "summary": [
        (TALK, "Summarize the talk.", "The speaker explains how a harbour town rebuilt its market.", "en"),
        (STORY, "Summarize the talk.", "A lamp goes out and nobody notices.", "en"),
        (CHINESE, "请概括这段话。", "会议改到下午。", "zh-CN"),
        (STEREO, "Summarize the talk.", "Boats leave the harbour.", "en"),
    ],
    "language_detection": [
        (ITALIAN, "Which language is spoken?", "Italian", "it"),
        (CHINESE, "Which language is spoken?", "Chinese", "zh-CN"),
        (JAPANESE, "Which language is spoken?", "Japanese", "ja"),
        (STORY, "Which language is spoken?", "English", "en"),
    ],
    "speaker_count": [
        (STORY, "How many speakers are there?", 2, "en"),
        (TALK, "How many speakers are there?", 1.0, "en"),
        (STEREO, "How many speakers are there?", "3", "en"),
        (LOST, "How many speakers are there?", 1, "en"),
    ],
    "content_separation": [
        (STORY, "How many separate content blocks are there?", "3", "en"),
        (TALK, "How many separate content blocks are there?", [2], "en"),
        (STEREO, "How many separate content blocks are there?", "one", "en"),
        (LOST, "How many separate content blocks are there?", "1", "en"),
    ],
    "emotionQA": [
        (TALK, "What is the emotion of this audio?", "Hopeful", "en"),
        (STORY, "What is the emotion of this audio?", "Calm", "en"),
        (STEREO, "What is the emotion of this audio?", "Urgent", "en"),
        (LOST, "What is the emotion of this audio?", "Neutral", "en"),
    ],
    "Temporal_Relative_QA": [
        (TALK, "What does the speaker turn to after the first example?", "The cost of the second bridge.", "en"),
        (STORY, "What happens before the lamp goes out?", "The door is opened.", "en"),
        (STEREO, "What leaves last?", "The smallest boat.", "en"),
        (LOST, "What comes first?", "The lost part.", "en"),
    ],
}


def write_longspeech(folder: Path) -> Written:
    """LongSpeech: eight tasks, train, val and test; of each task a row whose audio is missing, or in another language,
    contents as numbers and lists, messages as JSON texts, one stereo file of 44.1 kHz, and files of several tasks."""
    written = Written(Path(folder))
    for place, name in enumerate((STORY, TALK, CHINESE, JAPANESE, ITALIAN)):
        written.sound(name, 1.0 + 0.25 * place)
    written.sound(STEREO, 1.5, rate=44_100, channels=2)
    for task, rows in TEST_ROWS.items():
        written.items[task] = [
            (audio, _plain(prompt), _plain(answer), language)
            for audio, prompt, answer, language in rows
            if audio != LOST
        ]
        if lost := sum(audio == LOST for audio, *_ in rows):
            written.lose(task, "audio file missing", lost)
        _write_rows(written, task, "test", [_longspeech_row(task, *row) for row in rows])
        for split, part in (("train", "part_01"), ("val", "part_02")):
            made = []
            for number, (_, prompt, answer, language) in enumerate(rows[:2]):
                audio = f"LongSpeech_p1/wavs/{part}/{number:06d}.wav"
                if audio not in written.audio:
                    written.sound(audio, 1.0 + number / 2)
                made.append(_longspeech_row(task, audio, prompt, answer, language))
            _write_rows(written, task, split, made)
    return written


def _longspeech_row(task: str, audio: str, prompt: Any, answer: Any, language: str) -> dict[str, Any]:
    user = {"role": "user", "audio": audio, "content": prompt}
    assistant = {"role": "assistant", "content": answer}
    messages: Any = [user, assistant]
    if task == "summary":
        messages = json.dumps(messages, ensure_ascii=False)
    elif task == "emotionQA":
        messages = [json.dumps(user), json.dumps(assistant)]
    elif task == "content_separation":
        user["audio"] = [audio]
    elif task == "language_detection":
        user["audio"] = {"path": audio}
    return {"language": language, "task": task, "messages": messages, "extra": {"kept": False}}


def _write_rows(written: Written, task: str, stem: str, rows: Iterable[dict[str, Any]]) -> None:
    path = written.path / "LongSpeechQA" / task / f"{stem}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _plain(content: Any) -> str:
    value = content[0] if isinstance(content, list) else content
    return str(int(value)) if isinstance(value, (int, float)) else value


# AudioMarathon

AGES = ["Young Adult (18-30)", "Early Career (31-40)", "Mid Career (41-50)", "Senior (51-70)", "Elderly (71+)"]
EMOTIONS = [
    "Fearful - expressing fear or anxiety",
    "Monotone - flat and emotionless delivery",
    "Angry - expressing anger or frustration",
    "Happy - expressing joy or cheer",
]


def write_audiomarathon(folder: Path) -> Written:
    """AudioMarathon: ten tasks in a folder Dataset, four to six rows each. There is a missing file, happy recordings of
    person 2, two real and four fake ones, more men than women, a file of 22.05 kHz, a stereo one of 44.1 kHz, five
    ages, a chapter with a .trans.txt alone, one without a transcript, and a TAU file named by another scene."""
    written = Written(Path(folder))
    _race(written)
    _entities(written)
    _events(written)
    _genres(written)
    _scenes(written)
    _emotions(written)
    _voices(written)
    _chapters(written)
    _real_and_fake(written)
    return written


def _manifest(written: Written, path: str, content: Any) -> None:
    target = written.path / "Dataset" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")


def _add(written: Written, task: str, audio: str, answer: str, seconds: float | None = 1.0, **sound: int) -> None:
    """An item; seconds None: its audio is missing."""
    audio = f"Dataset/{audio}"
    if seconds is None:
        written.lose(task, "audio file missing")
        return
    if audio not in written.audio:
        written.sound(audio, seconds, **sound)
    written.items.setdefault(task, []).append((audio, None, answer, "en"))


def _letters(choices: list[str]) -> dict[str, str]:
    return {f"choice_{letter}": text for letter, text in zip("abcde", choices, strict=False)}


def _race(written: Written) -> None:
    rows = []
    for number, (name, index, answer) in enumerate(
        [
            ("high/9001", 0, "C"),
            ("high/9001", 1, "A"),
            ("middle/17", 0, "B"),
            ("middle/18", 0, "D"),
            ("high/404", 0, "A"),
        ]
    ):
        path = f"test/{name}.wav"
        rows.append(
            {
                "article_id": name.replace("/", ""),
                "question_idx": index,
                "audio_path": path,
                "question": f"Why did boat {number} turn back?",
                "options": ["Fog", "Fuel", "A storm", "A call"],
                "answer": answer,
            }
        )
        _add(written, "SCR", f"race_audio/{path}", answer, None if "404" in name else 1.5)
    _manifest(written, "race_audio/race_benchmark.json", rows)


def _entities(written: Written) -> None:
    rows = []
    for number, answer in enumerate("BADC"):
        counts = [31, 28, 35, 33]
        rows.append(
            {
                "path": f"audio/seg_{number:04d}.wav",
                "task_name": "named_entity_count",
                "dataset_name": "slue_voxpopuli",
                "question": "How many named entities appear in this audio segment?",
                **_letters([f"{count} entities" for count in counts]),
                "answer_gt": answer,
                "entity_count": counts["ABCD".index(answer)],
                "entity_types": ["GPE"],
                "uniq_id": number,
            }
        )
        stereo = {"rate": 44_100, "channels": 2} if number == 0 else {}
        _add(written, "SER", f"SLUE/audio/seg_{number:04d}.wav", answer, 1.25, **stereo)
    _manifest(written, "SLUE/merged_audio_data.json", rows)


def _events(written: Written) -> None:
    rows = []
    for number, (path, answer, event) in enumerate(
        [
            ("dog/clip_3.wav", "B", "Dog"),
            ("cat/clip_1.wav", "A", "Cat"),
            ("blender/clip_2.wav", "C", "Blender"),
            ("speech/clip_4.wav", "D", "Speech"),
        ]
    ):
        rows.append(
            {
                "uniq_id": number,
                "path": path,
                "task_type": "detection",
                "question": "What sound event is present in this audio segment?",
                "choices": {"A": "Cat", "B": "Dog", "C": "Blender", "D": "Speech"},
                "answer_gt": answer,
                "all_events": [event],
                "primary_event": event,
            }
        )
        _add(written, "SED", f"DESED/DESED_dataset/concatenated_audio/{path}", answer)
    _manifest(written, "DESED/DESED_dataset/concatenated_audio/desed_sound_event_detection_task.json", {"tasks": rows})


def _genres(written: Written) -> None:
    rows = []
    for number, (genre, answer) in enumerate([("jazz", "A"), ("rock", "B"), ("pop", "C"), ("blues", "D")]):
        path = f"{genre}/{genre}_{number}.wav"
        rows.append(
            {
                "path": path,
                "question": "What music genre is represented in this audio segment?",
                **_letters([f"{name.title()} - {name}" for name in ("jazz", "rock", "pop", "blues")]),
                "answer_gt": answer,
                "genre_label": genre,
                "uniq_id": number,
            }
        )
        _add(written, "MC", f"GTZAN/concatenated_audio/wav/{path}", answer, 1.0, rate=22_050)
    _manifest(written, "GTZAN/concatenated_audio/music_genre_classification_meta.json", rows)


def _scenes(written: Written) -> None:
    rows = []
    scenes = {"airport": "Airport", "park": "Urban park", "bus": "Traveling by a bus", "metro": "Traveling by metro"}
    files = [
        ("park/park_oslo-1_segment_1.wav", "park"),
        ("bus/bus_rome-2_segment_1.wav", "bus"),
        ("airport/airport_lisbon-3_segment_1.wav", "airport"),
        ("metro/metro_station_paris-4_segment_1.wav", "metro"),  # the label of another scene than the name's
        ("park/park_gone-5_segment_1.wav", "park"),
    ]
    for number, (path, scene) in enumerate(files):
        tail = number != 1  # one row without the code after the dash
        rows.append(
            {
                "path": path,
                "question": "What type of acoustic scene is represented in this audio segment?",
                **_letters([f"{name} - {code}" if tail else name for code, name in scenes.items()]),
                "answer_gt": "ABCD"[list(scenes).index(scene)],
                "scene_label": scene,
                "uniq_id": number,
            }
        )
        _add(
            written, "ASC", f"TAU/concatenated_resampled/{path}", rows[-1]["answer_gt"], None if "gone" in path else 1.0
        )
    _manifest(written, "TAU/concatenated_resampled/acoustic_scene_task_meta.json", rows)


def _emotions(written: Written) -> None:
    rows = []
    for person, emotion, number in [
        *(("3", "angry", 2), ("2", "happy", 1), ("2", "fearful", 3)),
        *(("10", "happy", 1), ("4", "happy", 5), ("5", "monotone", 1)),
    ]:
        path = f"person_{person}/{emotion}_{number}.wav"
        answer = "ABCD"[[text.split()[0].lower() for text in EMOTIONS].index(emotion)]
        rows.append(
            {
                "path": path,
                "person_id": person,
                "emotion_label": emotion,
                "question": "What emotion is expressed in this audio segment?",
                **_letters(EMOTIONS),
                "answer_gt": answer,
            }
        )
        if emotion == "happy" and person in ("2", "10"):
            written.sound(f"Dataset/VESUS/{path}", 1.0)
        else:
            _add(written, "ER", f"VESUS/{path}", answer)
    written.filtered["ER"] = {"persons 2 and 10, happy": 2}
    _manifest(written, "VESUS/audio_emotion_dataset.json", rows)


def _voices(written: Written) -> None:
    """VoxCeleb: the same files are asked for age and gender; of six persons two are women."""
    ages, genders = [], []
    answers = []
    for number, (age, gender) in enumerate([(0, 1), (1, 0), (2, 0), (3, 0), (4, 1), (1, 0)]):
        speaker = f"id{number:05d}"
        path = f"{speaker}/a.wav"
        about = {"path": path, "speaker_id_original": speaker}
        ages.append(
            about
            | {"speaker_age": (25, 37, 44, 60, 75)[age], "question": "What is the age group in this audio segment?"}
            | {**_letters(AGES), "answer_gt": AGES[age]}
        )
        genders.append(
            about
            | {"question": "What is the gender of the speaker in this audio segment?"}
            | {**_letters(["Male", "Female"]), "answer_gt": ("Male", "Female")[gender], "uniq_id": number}
        )
        audio = f"VoxCeleb/concatenated_audio/wav/{path}"
        _add(written, "SAR", audio, AGES[age])
        answers.append((f"Dataset/{audio}", ("Male", "Female")[gender]))
    men = sorted(audio for audio, gender in answers if gender == "Male")
    kept = set(random.Random(42).sample(men, 2)) | {audio for audio, gender in answers if gender == "Female"}
    written.items["SGR"] = [(audio, None, gender, "en") for audio, gender in answers if audio in kept]
    written.filtered["SGR"] = {"balanced to the smaller class": 2}
    _manifest(written, "VoxCeleb/concatenated_audio/age_classification_task_meta.json", ages)
    _manifest(written, "VoxCeleb/concatenated_audio/gender_id_task_meta.json", genders)


def _chapters(written: Written) -> None:
    folder = "librispeech-long/test-clean"
    for chapter, segment, text, how in [
        ("61/70968", "0000", "the first long chapter", ".txt"),
        ("61/70968", "0001", "the second part of it", ".txt"),
        ("121/121726", "0000", "a chapter in a table alone", ".trans.txt"),
        ("237/126133", "0000", None, ""),
    ]:
        speaker, number = chapter.split("/")
        stem = f"{number}_{segment}"
        audio = f"{folder}/{chapter}/{stem}.flac"
        if text is None:
            written.sound(f"Dataset/{audio}", 2.0)
            written.lose("ASR", "no transcript")
            continue
        _add(written, "ASR", audio, text, 2.0)
        where = written.path / "Dataset" / folder / chapter
        if how == ".txt":
            (where / f"{stem}.txt").write_text(f"{text}\n", encoding="utf-8")
        else:
            (where / f"{speaker}-{number}.trans.txt").write_text(f"{stem} {text}\n", encoding="utf-8")


def _real_and_fake(written: Written) -> None:
    folder = "HAD/concatenated_audio"
    fakes = [f"{folder}/fake/HAD_train_fake_{number}.wav" for number in range(4)]
    kept = set(random.Random(42).sample([f"Dataset/{path}" for path in fakes], 2))
    for number in range(2):
        _add(written, "SD", f"{folder}/real/HAD_train_real_{number}.wav", "real")
    for path in fakes:
        written.sound(f"Dataset/{path}", 1.0)
        if f"Dataset/{path}" in kept:
            written.items["SD"].append((f"Dataset/{path}", None, "fake", "en"))
    written.filtered["SD"] = {"balanced to the smaller class": 2}
