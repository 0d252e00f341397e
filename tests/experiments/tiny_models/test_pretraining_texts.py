"""What a tiny LLM reads: true texts of the right split, and questions whose answers they tell."""

import itertools
import random
from dataclasses import replace

import pytest
from omegaconf import OmegaConf

from data_recipes.grammar import number_words, split_of
from data_recipes.session_truths import NOWHERE, Asked
from experiments.tiny_models.pretraining_texts import (
    FEW,
    FEWEST_ASKED,
    HELD_OUT,
    MOST_QUESTIONS,
    WORDS_A_TURN,
    CorpusReadings,
    GrammarReadings,
    corpus_of,
    texts_of,
)
from speech_xl.data.tasks import CAPTION_INSTRUCTION
from speech_xl.run.configs import ConfigError
from tests.data.conftest import TinyCorpus

NUMBERS = {word for number in range(100) for word in number_words(number).split()}


def corpus(utterances: int) -> list[str]:
    """Utterances of three words of their own each."""
    return [f"a{i} b{i} c{i}" for i in range(utterances)]


def test_transcripts_are_no_longer_than_asked_and_have_no_questions():
    for words in (2, 12, 120):
        drawn = list(itertools.islice(GrammarReadings().transcripts(random.Random(0), words), 100))
        assert all(0 < reading.words <= words and all(reading.utterances) and not reading.asked for reading in drawn)
    assert {len(reading.utterances) for reading in drawn} > set(range(5, 10))


def test_dialogues_ask_about_whole_sessions_and_their_evidence_says_the_answer():
    drawn = list(itertools.islice(GrammarReadings().dialogues(random.Random(0), 80), 300))
    assert any(len(turn.via) > 2 for reading in drawn for turn in reading.asked), "others say names too"
    asked = {turn.instruction for reading in drawn for turn in reading.asked}
    assert {CAPTION_INSTRUCTION, "who spoke first", "how many speakers are there"} <= asked
    for reading in drawn:
        words = " ".join(reading.utterances).split()
        for turn in reading.asked:
            if turn.answer == "no":
                assert turn.evidence == [[NOWHERE]] and turn.instruction.split()[-2] not in words
                continue
            assert all(0 <= place < len(words) for places in turn.evidence for place in places)
            told = [{words[place] for place in places} for places in turn.evidence]
            if turn.instruction.startswith("what number did"):
                said = " ".join(word for (word,) in told)
                name = turn.instruction.split()[3]
                assert said == turn.answer and f"{name} here" in " ".join(words)
                assert turn.via == [place for place, word in enumerate(words) if word == name]
                here = [i for i in range(turn.evidence[0][0]) if words[i : i + 2] == [name, "here"]]
                assert " ".join(words[here[-1] : turn.evidence[0][0]]).endswith("number is")
            elif turn.instruction == "who spoke first":
                assert told == [{turn.answer}] and turn.evidence[0][0] < len(reading.utterances[0].split())
            elif turn.answer == "yes":
                assert told == [{turn.instruction.split()[-2]}]
            else:
                assert told == []


def test_the_words_of_a_number_are_linked_to_who_gives_it():
    for reading in itertools.islice(GrammarReadings().dialogues(random.Random(4), 80), 50):
        words = " ".join(reading.utterances).split()
        expected = {}
        for here in (i for i, word in enumerate(words) if word == "here"):
            place = words.index("is", here) + 1
            while place < len(words) and words[place] in NUMBERS:  # no sentence of the grammar begins with a number
                expected[place] = here - 1
                place += 1
        assert reading.links == expected and expected


def test_sessions_are_of_the_train_split(monkeypatch):
    import experiments.tiny_models.pretraining_texts as module

    seen = []
    original = module.draw_turns

    def spy(*args):
        sentences = original(*args)
        seen.extend(sentences)
        return sentences

    monkeypatch.setattr(module, "draw_turns", spy)
    list(itertools.islice(GrammarReadings().transcripts(random.Random(2), 60), 30))
    list(itertools.islice(GrammarReadings().dialogues(random.Random(2), 8 * WORDS_A_TURN), 30))
    assert seen and {split_of(sentence.text) for sentence in seen} == {"train"}


def test_few_words_come_again_and_again_in_the_share_that_is_asked_for():
    drawn = list(itertools.islice(GrammarReadings(few_words=0.5).transcripts(random.Random(3), 60), 400))
    repeats = [len(set(words)) <= FEW[1] < len(words) for words in (" ".join(one.utterances).split() for one in drawn)]
    assert 0.25 < sum(repeats) / len(repeats) < 0.45  # half of three quarters; a quarter is random words
    none = itertools.islice(GrammarReadings().transcripts(random.Random(3), 60), 400)
    assert not any(len({*" ".join(one.utterances).split()}) <= FEW[1] for one in none if one.words > 40)


@pytest.mark.parametrize("readings", [GrammarReadings(True), CorpusReadings(corpus(60), True)])
def test_words_are_marked_where_they_should_be(readings):
    reading = next(readings.transcripts(random.Random(0), 30))
    assert reading.marked == " ".join(reading.utterances).split()
    assert replace(reading, by_words=False).marked == reading.utterances != reading.marked


def test_a_corpus_is_read_in_its_order_and_one_utterance_in_twenty_never():
    readings = CorpusReadings(corpus(100))
    kept = {f"a{i} b{i} c{i}" for i in range(0, 100, HELD_OUT)}
    assert set(readings.held_out) == kept and len(readings.utterances) == 95
    drawn = list(itertools.islice(readings.transcripts(random.Random(0), 30), 300))
    assert all(r.words + 2 >= 15 and r.words <= 30 for r in drawn if r.utterances[-1] != "a99 b99 c99")
    numbers = [[int(text.split()[0][1:]) for text in r.utterances] for r in drawn if r.utterances[0][0] == "a"]
    in_order = [n for n in numbers if n == [i for i in range(n[0], n[-1] + 1) if i % HELD_OUT]]
    assert 0.6 < len(in_order) / len(drawn) < 0.9  # the others are random words
    own = {word for text in kept for word in text.split()}
    assert not any(own & set(" ".join(r.utterances).split()) for r in drawn)
    back = itertools.islice(readings.transcripts(random.Random(0), 9, held_out=True), 50)
    assert {text for r in back for text in r.utterances} == kept


def test_blends_are_the_head_of_one_word_and_the_tail_of_another():
    texts = [f"hat{i} dog{i}" for i in range(60)]
    plain, blended = CorpusReadings(texts), CorpusReadings(texts, blends=0.5)
    rng = random.Random(3)
    assert all(plain.word(rng) in plain.words for _ in range(200))
    drawn = [blended.word(rng) for _ in range(400)]
    new = [word for word in drawn if word not in blended.words]
    assert 0.35 < len(new) / len(drawn) <= 0.55
    for word in new:
        cuts = [(word[:at], word[at:]) for at in range(1, len(word))]
        assert any(
            any(w.startswith(head) for w in blended.words) and any(w.endswith(tail) for w in blended.words)
            for head, tail in cuts
        )
    assert len(set(new)) > 50


def test_a_corpus_is_asked_for_words_it_has_and_others():
    readings = CorpusReadings(corpus(60))
    drawn = list(itertools.islice(readings.dialogues(random.Random(1), 5 * WORDS_A_TURN), 100))
    assert max(len(r.utterances) for r in drawn) == 5
    answers = []
    for reading in drawn:
        for turn in reading.asked:
            word = turn.instruction.removeprefix("was the word ").removesuffix(" said")
            assert turn.answer == ("yes" if word in " ".join(reading.utterances).split() else "no")
            answers.append(turn.answer)
    assert 0.4 < answers.count("yes") / len(answers) < 0.65


def test_a_corpus_asks_in_its_own_way_about_texts_of_all_lengths():
    def ask(texts, rng):
        return [Asked("what was said", " ".join(texts)) for _ in range(MOST_QUESTIONS + 4)]

    readings = CorpusReadings([f"w{i}" for i in range(100)], ask=ask)
    drawn = list(itertools.islice(readings.dialogues(random.Random(1), 64), 400))
    assert {len(r.asked) for r in drawn} == {MOST_QUESTIONS}
    assert all(turn.answer == " ".join(r.utterances) for r in drawn for turn in r.asked)
    inside = [r.words for r in drawn if r.utterances[-1] != readings.utterances[-1]]  # the corpus ends there
    assert min(inside) == FEWEST_ASKED and max(inside) > 55
    assert sum(w < 16 for w in inside) > len(inside) / 3  # half of them, were there no end


def test_a_corpus_too_small_to_keep_some_back_is_refused():
    with pytest.raises(ConfigError, match="30 utterances; use a corpus with 40"):
        CorpusReadings(corpus(30))


def test_the_utterances_of_an_overlay_are_those_of_its_train_split(tmp_path):
    tiny = {"class_path": "tests.data.conftest.TinyCorpus", "init_args": {"folder": str(tmp_path), "sessions": 2}}
    overlay = tmp_path / "overlay.yaml"
    OmegaConf.save({"data": {"corpus": tiny}}, overlay)
    cuts = TinyCorpus(tmp_path, sessions=2).cuts("train")
    assert texts_of(corpus_of(overlay, None)) == [s.text for cut in cuts for s in cut.supervisions]
    overlay.write_text("data: {turns: 3}")
    with pytest.raises(ConfigError, match=r"overlay.yaml: has no data\.corpus"):
        corpus_of(overlay, None)
