"""Made-up EmoDB and speechocean762: constant levels, by which a recording is found again, and what is told of each."""

import json
from pathlib import Path

import numpy as np
import soundfile

MEN = ("03", "10", "11", "12", "15")
WOMEN = ("08", "09", "13", "14", "16")
EMOTIONS = {"W": "anger", "N": "neutral", "T": "sadness"}
# (speaker, gender, years): four children and four adults of each sex, and one between.
PEOPLE = [
    (f"{100 * years + 10 * i + (gender == 'F'):04d}", gender, years + i)
    for years in (6, 21)
    for gender in "MF"
    for i in range(4)
]
BETWEEN = ("9999", "F", 15)


def level(index: int) -> float:
    """The constant level of the `index`-th made-up recording, by which it is found again in a session."""
    return 0.003 * (index + 1)


def write_wav(path: Path, index: int, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(rate // 20, level(index), dtype=np.float32), rate)


def write_emodb(folder: Path, speakers=(*MEN, *WOMEN), clips: int = 4) -> dict[int, tuple]:
    """index -> (speaker, gender, emotion) of what was written."""
    told = {}
    for speaker in speakers:
        for letter, emotion in EMOTIONS.items():
            for sentence in ("a01", "a02", "b01", "b10")[:clips]:
                write_wav(folder / f"{speaker}{sentence}{letter}a.wav", len(told))
                told[len(told)] = (f"emodb{speaker}", "M" if speaker in MEN else "F", emotion)
    return told


def write_speechocean(folder: Path, flat: bool, people=(*PEOPLE, BETWEEN), clips: int = 6) -> dict[int, tuple]:
    """The same, in the published layout or with labels.tsv: index -> (speaker, gender, "child" or "adult")."""
    told, rows = {}, []
    for speaker, gender, years in people:
        for clip in range(clips):
            name, index = f"0{speaker}{clip:04d}", 200 + len(told)
            path = Path("wav", f"{name}.wav") if flat else Path("WAVE", f"SPEAKER{speaker}", f"{name}.WAV")
            write_wav(folder / path, len(told), 16000 if flat else 8000)
            told[len(told)] = (f"so{speaker}", gender, "child" if years < 15 else "adult")
            rows.append((name, speaker, gender, years, f"IT'S NUMBER {index}", path))
    if flat:
        lines = ["id\tspeaker\tgender\tlanguage\ttranscript\tlabels"]
        lines += [f"{i}\tso{s}\t{g}\ten\t{t}\t{json.dumps({'age': a})}" for i, s, g, a, t, _ in rows]
        (folder / "labels.tsv").write_text("\n".join(lines) + "\n")
        return told
    for part, chosen in (("train", rows[::2]), ("test", rows[1::2])):
        (folder / part).mkdir(parents=True)
        tables = {
            "utt2spk": {f"{i}\t{s}" for i, s, _, _, _, _ in chosen},
            "wav.scp": {f"{i}\t{p}" for i, _, _, _, _, p in chosen},
            "text": {f"{i}\t{t}" for i, _, _, _, t, _ in chosen},
            "spk2gender": {f"{s} {g.lower()}" for _, s, g, _, _, _ in chosen},
            "spk2age": {f"{s} {a}" for _, s, _, a, _, _ in chosen},
        }
        for name, lines in tables.items():
            (folder / part / name).write_text("\n".join(sorted(lines)) + "\n")
    return told
