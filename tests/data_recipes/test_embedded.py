"""The embedded corpus: exact truth, clean splits, the same bytes for the same seed, a making that can be resumed."""

import gzip
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from lhotse import validate

import data_recipes.embedded as embedded
from data_recipes.embedded import EmbeddedSpeech
from data_recipes.grammar import number_words, sample_texts, split_of, vocabulary

SIZE = {"train_hours": 0.03, "dev_sessions": 2, "test_sessions": 3, "min_seconds": 20, "max_seconds": 40}
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    made = EmbeddedSpeech(root=str(tmp_path_factory.mktemp("embedded")), jobs=2, **SIZE)
    made.prepare()
    return made


def content(folder):
    """File -> bytes of everything a corpus holds; gzip keeps the time of writing, so manifests are unpacked."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in files
    }


def name_of(supervision):
    return supervision.speaker.split("-")[0]


def sessions(corpus):
    return [cut for split in SPLITS for cut in corpus.cuts(split)]


def test_sizes_and_bounds(corpus):
    assert len(corpus.cuts("dev")) == 2
    assert len(corpus.cuts("test")) == 3
    assert sum(cut.duration for cut in corpus.cuts("train")) == pytest.approx(0.03 * 3600, abs=40)
    for cut in sessions(corpus):
        assert 20 <= cut.duration <= 40
        assert cut.sampling_rate == 16000
        assert 1 <= len({s.speaker for s in cut.supervisions}) <= 4
        validate(cut, read_data=True)
    stated = json.loads((corpus.folder / "corpus.json").read_text())
    assert stated["sessions"] == {split: len(corpus.cuts(split)) for split in SPLITS}


def test_supervision_times_match_the_audio(corpus):
    for cut in sessions(corpus):
        audio = cut.load_audio()[0]
        silent = np.ones(len(audio), dtype=bool)
        for s in cut.supervisions:
            start, end = round(s.start * 16000), round(s.end * 16000)
            assert np.sqrt(np.mean(audio[start:end] ** 2)) > 0.03, s
            # speech fills its supervision: no long silence at its ends
            assert np.abs(audio[start : start + 800]).max() > 0.005, s
            assert np.abs(audio[end - 800 : end]).max() > 0.005, s
            silent[start:end] = False
        assert np.sqrt(np.mean(audio[silent] ** 2)) < 0.003, cut.id
        ends = [0.0] + [s.end for s in cut.supervisions]
        starts = [s.start for s in cut.supervisions] + [cut.duration]
        pauses = [start - end for end, start in zip(ends, starts, strict=True)]
        assert min(pauses) > 0.199 and max(pauses) < 0.801


def test_every_word_begins_within_its_utterance(corpus):
    for cut in sessions(corpus):
        for s in cut.supervisions:
            starts = s.custom["word_starts"]
            assert len(starts) == len(s.text.split())
            assert starts[0] == 0.0 and starts == sorted(starts) and starts[-1] < s.duration


def test_voices_and_sentences_are_disjoint_between_splits(corpus):
    texts, voices = {}, {}
    for split in SPLITS:
        supervisions = [s for cut in corpus.cuts(split) for s in cut.supervisions]
        texts[split] = {s.text for s in supervisions}
        voices[split] = {s.speaker.split("-", 1)[1] for s in supervisions}
        assert {split_of(text) for text in texts[split]} == {split}
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        assert not texts[one] & texts[other]
        assert not voices[one] & voices[other]


def test_questions_are_true_by_the_supervisions(corpus):
    for cut in sessions(corpus):
        transcript = " ".join(s.text for s in cut.supervisions).split()
        kinds = Counter()
        for q in cut.questions:
            kinds[q["kind"]] += 1
            if q["kind"] == "number":
                name = re.fullmatch(r"what number did (\w+) give", q["question"]).group(1)
                given = [
                    re.search(r"my number is ((?: ?(?!and)\w+)+)", s.text).group(1)
                    for s in cut.supervisions
                    if name_of(s) == name and "my number" in s.text
                ]
                assert given == [q["answer"]], (cut.id, name)
            elif q["kind"] == "first":
                assert q["answer"] == name_of(min(cut.supervisions, key=lambda s: s.start))
            elif q["kind"] == "count":
                assert q["answer"] == number_words(len({s.speaker for s in cut.supervisions}))
            else:
                word = q["question"].split()[-2]
                assert q["answer"] == ("yes" if word in transcript else "no"), (cut.id, q)
        mentions = Counter(q["answer"] for q in cut.questions if q["kind"] == "mention")
        assert mentions["yes"] == mentions["no"] == 2
        assert set(kinds) == {"number", "first", "count", "mention"}
        assert kinds["number"] == len({s.speaker for s in cut.supervisions})
        assert len(cut.questions) == len({q["question"] for q in cut.questions}) >= 6


def test_speakers_introduce_themselves_first_and_captions_name_them(corpus):
    for cut in sessions(corpus):
        names = []
        for s in cut.supervisions:
            if name_of(s) not in names:
                names.append(name_of(s))
                assert re.match(r"(this is|hello my name is|good morning i am) " + name_of(s), s.text)
        assert len(names) == len({s.speaker for s in cut.supervisions}), "two speakers of one name"
        who = (" ".join(names[:-1]) + " and " if len(names) > 1 else "") + names[-1]
        count = f"{number_words(len(names))} speaker{'s' if len(names) > 1 else ''}"
        assert re.fullmatch(f"{count} {who} talks? about .+", cut.caption)
        about = cut.caption.split(" about ")[1].replace("the ", "").split(" and ")
        assert set(about) <= {word for s in cut.supervisions for word in s.text.split()}


def test_the_vocabulary_is_closed(corpus):
    words = set()
    for cut in sessions(corpus):
        texts = [s.text for s in cut.supervisions] + [cut.caption]
        texts += [q[key] for q in cut.questions for key in ("question", "answer")]
        words.update(word for text in texts for word in text.split())
    assert words <= set(vocabulary())


def test_tokenizer_texts_hold_no_held_out_sentence(corpus):
    texts = sample_texts(500, seed=1)
    assert texts == sample_texts(500, seed=1) != sample_texts(500, seed=2)
    joined = " | ".join(texts)
    held_out = [s.text for split in ("dev", "test") for cut in corpus.cuts(split) for s in cut.supervisions]
    assert not [text for text in held_out if text in joined]
    assert {word for text in texts for word in text.split()} <= set(vocabulary())


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_jobs(corpus, tmp_path):
    again = EmbeddedSpeech(root=str(tmp_path), jobs=1, **SIZE)
    again.prepare()
    assert again.fingerprint == corpus.fingerprint
    assert content(again.folder) == content(corpus.folder)


def test_an_interrupted_making_goes_on_and_ends_the_same(corpus, tmp_path, monkeypatch):
    speak, spoken = embedded.speak_chunk, []

    def broken(requests, path):
        if len(spoken) == 2:
            raise KeyboardInterrupt
        spoken.append(path.name)
        speak(requests, path)

    resumed = EmbeddedSpeech(root=str(tmp_path), jobs=1, **SIZE)
    monkeypatch.setattr(embedded, "speak_chunk", broken)
    with pytest.raises(KeyboardInterrupt):
        resumed.prepare()
    with pytest.raises(FileNotFoundError, match=r"corpus\.json is missing"):
        resumed.cuts("train")
    first = set(spoken)
    monkeypatch.setattr(
        embedded, "speak_chunk", lambda requests, path: (spoken.append(path.name), speak(requests, path))
    )
    resumed.prepare()
    assert len(first) == 2 and len(spoken) == 3, "made chunks are not spoken again"
    assert content(resumed.folder) == content(corpus.folder)


def test_a_made_corpus_is_left_alone(corpus, monkeypatch):
    monkeypatch.setattr(embedded, "speak_chunk", lambda *_: pytest.fail("spoke again"))
    before = (corpus.folder / "corpus.json").stat().st_mtime_ns
    corpus.prepare()
    assert (corpus.folder / "corpus.json").stat().st_mtime_ns == before


def test_two_runs_at_once_make_it_once(tmp_path, monkeypatch):
    speak, spoken = embedded.speak_chunk, []
    monkeypatch.setattr(
        embedded, "speak_chunk", lambda requests, path: (spoken.append(path.name), speak(requests, path))
    )
    small = {**SIZE, "train_hours": 0.005, "dev_sessions": 1, "test_sessions": 1}
    runs = [EmbeddedSpeech(root=str(tmp_path), jobs=1, **small) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(EmbeddedSpeech.prepare, runs))
    assert len(spoken) == 3
    assert len(runs[0].cuts("dev")) == len(runs[1].cuts("dev")) == 1


def test_other_arguments_go_to_another_folder(tmp_path):
    folders = {
        EmbeddedSpeech(root=str(tmp_path), **options).folder
        for options in ({}, {"seed": 1}, {"train_hours": 1}, {"dev_sessions": 3}, {"max_seconds": 60})
    }
    assert len(folders) == 5
    assert EmbeddedSpeech(root="a", jobs=7).fingerprint == EmbeddedSpeech(root="b").fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_hours": 0}, "train_hours: got 0"),
        ({"test_sessions": 0}, "test_sessions: got 0"),
        ({"jobs": 0}, "jobs: got 0"),
        ({"min_seconds": 5}, "min_seconds: got 5"),
        ({"min_seconds": 30, "max_seconds": 35}, "max_seconds: got 35; give a number from 40"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EmbeddedSpeech(**options)


def test_an_unknown_split_is_refused(corpus):
    with pytest.raises(ValueError, match="'valid'; use one of train, dev, test"):
        corpus.cuts("valid")
