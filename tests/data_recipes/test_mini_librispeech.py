"""MiniLibriSpeech on a tiny made-up corpus in the published layout: splits, sessions, truth, download, bad input."""

import json
import logging
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data_recipes.mini_librispeech import MiniLibriSpeech
from speech_xl.data.tasks import asr_turn, caption_turn, qa_turns

TRAIN = {"19": "F", "118": "M", "32": "F"}
DEV = {"84": "F", "174": "M", "251": "M", "1462": "F"}
WORDS = [
    "APPLE",
    "BRIDGE",
    "CANDLE",
    "DRAGON",
    "ENGINE",
    "FOREST",
    "GARDEN",
    "HAMMER",
    "ISLAND",
    "JACKET",
    "KETTLE",
    "LANTERN",
    "MARKET",
    "NEEDLE",
    "ORCHARD",
]
UTTERANCES = 6  # a chapter
CHAPTERS = 2  # a speaker
SECONDS = 0.5


def write_part(corpus: Path, part: str, speakers: dict[str, str]) -> None:
    for speaker in speakers:
        for chapter in range(CHAPTERS):
            folder = corpus / part / speaker / str(1000 + chapter)
            folder.mkdir(parents=True)
            lines = []
            for index in range(UTTERANCES):
                name = f"{speaker}-{1000 + chapter}-{index:04d}"
                # its level tells the utterance apart when its audio is looked for in a session
                samples = np.full(round(SECONDS * 16000), (index + 1) / 20 + chapter / 3, dtype=np.float32)
                soundfile.write(folder / f"{name}.flac", samples, 16000)
                word = WORDS[(int(speaker) + 5 * chapter + index) % len(WORDS)]
                lines.append(f"{name} {word} OF IT'S {speaker.translate(str.maketrans('0123456789', 'ABCDEFGHIJ'))}")
            (folder / f"{speaker}-{1000 + chapter}.trans.txt").write_text("\n".join(lines) + "\n")


def write_corpus(folder: Path, dev_part: str = "dev-clean-2") -> Path:
    corpus = folder / "LibriSpeech"
    write_part(corpus, "train-clean-5", TRAIN)
    write_part(corpus, dev_part, DEV)
    rows = [f"{speaker:<5}| {sex} | some-part | 8.0 | A |Bar| Name" for speaker, sex in (TRAIN | DEV).items()]
    (corpus / "SPEAKERS.TXT").write_text("; reader | sex | subset | minutes | name\n" + "\n".join(rows) + "\n")
    return corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "existing")


def make(tmp_path: Path, corpus: Path, **kwargs) -> MiniLibriSpeech:
    recipe = MiniLibriSpeech(root=str(tmp_path / "made"), corpus_dir=str(corpus), **kwargs)
    recipe.prepare()
    return recipe


def speakers(cuts) -> set[str]:
    return {s.speaker for cut in cuts for s in cut.supervisions}


def test_chapters_become_sessions_of_at_most_max_seconds(tmp_path, corpus):
    cuts = list(make(tmp_path, corpus, max_seconds=2.2, mixed=0.0).cuts("train"))
    assert len(cuts) == len(TRAIN) * CHAPTERS * 2  # six utterances of half a second: four fit, two are left
    assert sorted({c.duration for c in cuts}) == [1.0, 2.0]
    assert sum(len(c.supervisions) for c in cuts) == len(TRAIN) * CHAPTERS * UTTERANCES
    first = next(c for c in cuts if c.id == "19-1001-0000-0003")
    assert [s.start for s in first.supervisions] == [0.0, 0.5, 1.0, 1.5]
    audio = first.load_audio()[0]
    for index, supervision in enumerate(first.supervisions):
        middle = audio[round((supervision.start + supervision.duration / 2) * 16000)]
        assert middle == pytest.approx((index + 1) / 20 + 1 / 3, abs=1e-3)
        assert (supervision.speaker, supervision.gender, supervision.language) == ("19", "F", "English")
    assert asr_turn(first).answer.startswith("jacket of it's bj kettle of it's bj")  # lower case, in reading order


def test_whole_chapters_with_null(tmp_path, corpus):
    cuts = list(make(tmp_path, corpus, max_seconds=None, mixed=0.0).cuts("train"))
    assert [c.duration for c in cuts] == [3.0] * (len(TRAIN) * CHAPTERS)


def test_an_utterance_longer_than_max_seconds_is_a_session(tmp_path, corpus):
    cuts = list(make(tmp_path, corpus, max_seconds=0.3, mixed=0.0).cuts("train"))
    assert len(cuts) == len(TRAIN) * CHAPTERS * UTTERANCES and {c.duration for c in cuts} == {0.5}


@pytest.mark.parametrize("dev_part", ["dev-clean-2", "dev-clean"])
def test_dev_and_test_share_no_speaker_and_have_both_sexes(tmp_path, dev_part):
    recipe = make(tmp_path, write_corpus(tmp_path / "existing", dev_part).parent)  # the folder LibriSpeech lies in
    dev, test = list(recipe.cuts("dev")), list(recipe.cuts("test"))
    assert speakers(dev) == {"84", "174"} and speakers(test) == {"1462", "251"}
    assert speakers(recipe.cuts("train")) == set(TRAIN)
    for cuts in (dev, test):
        assert {s.gender for cut in cuts for s in cut.supervisions} == {"F", "M"}


def test_mixed_sessions_use_every_utterance_once_and_count_their_speakers(tmp_path, corpus):
    recipe = make(tmp_path, corpus, max_seconds=3.0, mixed=1.0)
    cuts = list(recipe.cuts("train"))
    texts = Counter(s.text for cut in cuts for s in cut.supervisions)
    plain = MiniLibriSpeech(root=str(tmp_path / "other"), corpus_dir=str(corpus), unit="utterance")
    plain.prepare()
    assert texts == Counter(s.text for cut in plain.cuts("train") for s in cut.supervisions)
    assert all(cut.duration <= 3.0 for cut in cuts)
    several = [cut for cut in cuts if len(speakers([cut])) > 1]
    assert several
    for cut in cuts:
        count = len(speakers([cut]))
        (turn,) = [t for t in qa_turns(cut) if t.kind == "count"]
        assert turn.answer == ["one", "two", "three"][count - 1]
        assert cut.id.startswith("train-mixed") or count == 1


def test_unit_utterance_uses_the_audio_where_it_lies(tmp_path, corpus):
    recipe = make(tmp_path, corpus, unit="utterance")
    cuts = list(recipe.cuts("train"))
    assert len(cuts) == len(TRAIN) * CHAPTERS * UTTERANCES
    assert all(len(cut.supervisions) == 1 for cut in cuts)
    assert Path(cuts[0].recording.sources[0].source).is_relative_to(corpus)
    assert cuts[0].load_audio().shape == (1, 8000)
    assert not (recipe.folder / "audio").exists()
    assert not any(t.kind == "count" for cut in cuts for t in qa_turns(cut))  # it would always be one


def test_questions_and_captions_are_true_and_mentions_balanced_for_every_word(tmp_path, corpus):
    recipe = make(tmp_path, corpus, max_seconds=2.0, mixed=0.5)
    answers: dict[str, Counter] = {}
    for cut in recipe.cuts("train"):
        said = {word for s in cut.supervisions for word in s.text.split()}
        turns = qa_turns(cut)
        assert len({t.instruction for t in turns}) == len(turns)
        for turn in turns:
            if turn.kind == "gender":
                assert turn.answer == {"F": "woman", "M": "man"}[cut.supervisions[0].gender]
            elif turn.kind == "mention":
                word = turn.instruction.split()[3]
                assert turn.answer == ("yes" if word in said else "no")
                answers.setdefault(word, Counter())[turn.answer] += 1
        sexes = Counter((TRAIN | DEV)[speaker] for speaker in speakers([cut]))
        caption = caption_turn(cut).answer
        assert ("woman" in caption or "women" in caption) == bool(sexes["F"])
        assert caption.endswith("reads aloud" if sum(sexes.values()) == 1 else "read aloud")
    assert answers and all(c["yes"] == c["no"] for c in answers.values())


def test_utterances_without_transcript_or_audio_are_reported(tmp_path, corpus, caplog):
    chapter = corpus / "train-clean-5" / "19" / "1000"
    transcript = chapter / "19-1000.trans.txt"
    transcript.write_text("\n".join(transcript.read_text().splitlines()[1:]) + "\n")
    (chapter / "19-1000-0004.flac").unlink()
    with caplog.at_level(logging.WARNING):
        recipe = make(tmp_path, corpus, unit="utterance")
    assert "1 utterances without transcript left out: 19-1000-0000" in caplog.text
    assert "1 utterances without audio left out: 19-1000-0004" in caplog.text
    facts = json.loads((recipe.folder / "recipe.json").read_text())["facts"]
    assert facts["train-clean-5"] == {"without_transcript": ["19-1000-0000"], "without_audio": ["19-1000-0004"]}
    assert facts["train"]["sessions"] == len(TRAIN) * CHAPTERS * UTTERANCES - 2 == len(recipe.cuts("train"))


def test_without_speakers_txt_gender_is_unknown_not_wrong(tmp_path, corpus, caplog):
    (corpus / "SPEAKERS.TXT").unlink()
    cut = make(tmp_path, corpus, mixed=0.0).cuts("train")[0]
    assert "SPEAKERS.TXT is missing" in caplog.text
    assert cut.supervisions[0].gender is None and caption_turn(cut).answer == "one speaker reads aloud"
    assert not any(t.kind == "gender" for t in qa_turns(cut))


def test_prepare_is_idempotent_and_settings_never_mix(tmp_path, corpus):
    recipe = make(tmp_path, corpus, max_seconds=2.0)
    stamps = {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    ids = [c.id for c in recipe.cuts("train")]
    recipe.prepare()
    assert stamps == {p: p.stat().st_mtime_ns for p in recipe.folder.rglob("*") if p.is_file()}
    assert make(tmp_path, corpus, max_seconds=1.0).folder != recipe.folder
    again = make(tmp_path / "again", corpus, max_seconds=2.0)
    assert [c.id for c in again.cuts("train")] == ids
    assert [c.custom for c in again.cuts("train")] == [c.custom for c in recipe.cuts("train")]


def test_an_unfinished_folder_is_not_read_and_made_again(tmp_path, corpus):
    recipe = make(tmp_path, corpus)
    (recipe.folder / "recipe.json").unlink()
    with pytest.raises(FileNotFoundError, match="not whole"):
        recipe.cuts("train")
    recipe.prepare()
    assert len(recipe.cuts("train")) > 0


def test_download_through_lhotse(tmp_path):
    corpus = write_corpus(tmp_path / "published")
    (tmp_path / "server" / "31").mkdir(parents=True)
    for part in ("train-clean-5", "dev-clean-2"):
        with tarfile.open(tmp_path / "server" / "31" / f"{part}.tar.gz", "w:gz") as tar:
            tar.add(corpus / part, f"LibriSpeech/{part}")
            tar.add(corpus / "SPEAKERS.TXT", "LibriSpeech/SPEAKERS.TXT")
    root = tmp_path / "made"
    recipe = MiniLibriSpeech(root=str(root), base_url=(tmp_path / "server").as_uri())
    recipe.prepare()
    assert speakers(recipe.cuts("train")) == set(TRAIN)
    assert (root / "LibriSpeech" / "dev-clean-2").is_dir()


def test_a_part_unpacked_by_hand_is_neither_deleted_nor_downloaded(tmp_path):
    write_corpus(tmp_path / "made")
    recipe = MiniLibriSpeech(root=str(tmp_path / "made"), base_url="file:///nowhere")
    recipe.prepare()
    assert speakers(recipe.cuts("train")) == set(TRAIN)


def test_errors_name_the_place_and_the_mend(tmp_path, corpus):
    with pytest.raises(FileNotFoundError, match=r"has no train-clean-5 .*or leave corpus_dir out"):
        make(tmp_path, tmp_path)
    with pytest.raises(OSError, match="cannot download train-clean-5 and dev-clean-2 from file:///nowhere"):
        MiniLibriSpeech(root=str(tmp_path / "made"), base_url="file:///nowhere").prepare()
    for key, value in (("unit", "word"), ("max_seconds", 0.0), ("mixed", 1.5)):
        with pytest.raises(ValueError, match=f"{key}.* (is|got) {value!r}"):
            MiniLibriSpeech(**{key: value})
    recipe = make(tmp_path, corpus)
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        recipe.cuts("valid")


def test_damaged_audio_and_transcripts_are_named(tmp_path, corpus):
    path = corpus / "train-clean-5" / "118" / "1000" / "118-1000-0002.flac"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"118-1000-0002\.flac"):
        make(tmp_path, corpus)
    transcript = path.with_name("118-1000.trans.txt")
    transcript.write_text(transcript.read_text() + "118-1000-0009\n")
    with pytest.raises(ValueError, match=r"118-1000\.trans\.txt, line 7"):
        make(tmp_path, corpus)


def test_a_speaker_in_train_and_dev_is_refused(tmp_path, corpus):
    write_part(corpus, "dev-clean", {"19": "F", "84": "F"})
    with pytest.raises(ValueError, match="speaker 19 is in train-clean-5 and in dev-clean"):
        make(tmp_path, corpus, dev_part="dev-clean")
