"""espeak-ng and the plans of sessions: voices that exist, clear errors, conversations within their rules."""

import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_recipes.espeak import Espeak, Request, read_chunk, speak_chunk, word_starts
from data_recipes.grammar import MEN, WOMEN, draw_cast, draw_turns, number_words, vocabulary
from data_recipes.session_plan import draw_duration, plan_session
from data_recipes.voices import ACCENTS, VARIANTS, voices


def test_every_voice_is_in_the_wheel_with_its_gender():
    import espeakng_loader

    data = Path(espeakng_loader.get_data_path())
    for gender, variants in VARIANTS.items():
        for variant in variants:
            stated = re.search(r"^gender +(\w)", (data / "voices/!v" / variant).read_text(), re.MULTILINE).group(1)
            assert stated.upper() == gender, variant
    for accent in ACCENTS.values():
        assert (data / "lang" / accent).is_file()


def test_voices_are_split_without_overlap():
    for gender, variants in VARIANTS.items():
        split = {name: {str(v) for v in voices(name)[gender]} for name in ("train", "dev", "test")}
        assert sum(map(len, split.values())) == len(set.union(*split.values())) == len(ACCENTS) * len(variants)
        assert all(v.gender == gender for v in voices("train")[gender])


def test_a_chunk_holds_every_utterance_and_repeats_exactly(tmp_path):
    # f2 and f3 breathe: their noise is the part that the library seeds by the clock
    requests = [Request(f"gmw/en-US+{v}", 150, 50, text) for v in ("f2", "f3") for text in ("hello", "a long sentence")]
    speak_chunk(requests, tmp_path / "a.npz")
    speak_chunk(requests, tmp_path / "b.npz")
    spoken = read_chunk(tmp_path / "a.npz")
    assert len(spoken) == 4
    assert all(one.samples.dtype == np.float32 and np.abs(one.samples).max() > 0.1 for one in spoken)
    assert len(spoken[0].samples) < len(spoken[1].samples)
    assert [len(one.word_starts) for one in spoken] == [1, 3, 1, 3]
    for one, other in zip(spoken, read_chunk(tmp_path / "b.npz"), strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.word_starts == other.word_starts


def test_words_begin_after_the_pause_before_them(tmp_path):
    """Commas make espeak-ng pause: it is silent before a word begins, and loud soon after."""
    speak_chunk([Request("gmw/en-US+f3", 150, 50, "apples, bottles, tickets")], tmp_path / "a.npz")
    (spoken,) = read_chunk(tmp_path / "a.npz")
    level = np.abs(spoken.samples)
    assert spoken.word_starts[0] == 0.0
    for start in spoken.word_starts[1:]:
        at = round(start * 16000)
        assert level[at - 800 : at - 160].max() < 0.02
        assert level[at : at + 2400].max() > 0.1


def test_times_count_from_the_first_sound():
    """espeak-ng counts from its own first sample, and what is silent before the first word is trimmed away."""
    espeak = Espeak()
    spoken = espeak.speak(Request("gmw/en-US+f3", 150, 50, "this is alice"))
    silent = int(np.flatnonzero(np.abs(np.concatenate(espeak._buffers).astype(int)) > 100)[0])
    assert silent > 100
    expected = [(espeak._words[place] - silent) / espeak.native_rate for place in (5, 8)]
    assert spoken.word_starts[1:] == pytest.approx(expected, abs=1e-3)


def test_words_said_in_one_with_others_begin_as_far_along_as_their_letters():
    text = "apples in the garden"
    assert word_starts(text, {0: -0.1, 7: 1.0, 14: 1.7}, end=2.5) == [0.0, 1.0, 1.3, 1.7]
    assert word_starts("of the", {}, end=0.6) == [0.0, 0.3]
    assert word_starts("a b", {0: 0.0, 2: 0.9}, end=0.8) == [0.0, 0.8], "no word begins after the end"


def test_an_unknown_voice_is_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="no voice 'gmw/xx'"):
        speak_chunk([Request("gmw/xx", 150, 50, "hello")], tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_a_deep_installation_speaks_too(tmp_path):
    """The library forgets the end of a data folder's path beyond 160 characters."""
    import espeakng_loader

    deep = tmp_path / ("deep" * 40) / "espeak-ng-data"
    deep.parent.mkdir()
    deep.symlink_to(espeakng_loader.get_data_path())
    code = (
        f"import espeakng_loader; espeakng_loader.get_data_path = lambda: {str(deep)!r}\n"
        "from data_recipes.espeak import Espeak, Request\n"
        "print(len(Espeak().speak(Request('gmw/en-GB-x-gbclan+belinda', 150, 50, 'hello')).samples))"
    )
    root = Path(__file__).parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 4000  # samples at 16 kHz


def test_conversations_keep_the_rules():
    rng = random.Random(0)
    for _ in range(200):
        cast = draw_cast(rng, rng.randint(1, 4))
        sentences = draw_turns(rng, cast, 2 * len(cast) + rng.randint(0, 10), "train")
        for name in cast:
            kinds = [s.kind for s in sentences if s.speaker == name]
            assert kinds[0] == "introduction"
            assert Counter(kinds)["introduction"] == Counter(kinds)["number"] == 1
            own = [s.text for s in sentences if s.speaker == name and s.kind == "fact"]
            assert not [text for text in own if name in text.split()]
    with pytest.raises(ValueError, match="3 utterances for 2 speakers"):
        draw_turns(rng, ["karen", "peter"], 3, "train")


def test_plans_cover_one_to_four_speakers_with_names_of_their_gender():
    counts = Counter()
    for index in range(100):
        plan = plan_session(f"train-{index}", "train", 0, 20.0, 180.0)
        speakers = {line.speaker: line.gender for line in plan.lines}
        counts[len(speakers)] += 1
        for speaker, gender in speakers.items():
            assert speaker.split("-")[0] in {"F": WOMEN, "M": MEN}[gender]
        assert len(plan.pauses) == len(plan.lines) + len(plan.reserve) + 1
    assert set(counts) == {1, 2, 3, 4} and min(counts.values()) >= 5


def test_most_sessions_are_short_and_some_are_long():
    rng = random.Random(0)
    drawn = [draw_duration(rng, 20.0, 180.0) for _ in range(2000)]
    assert min(drawn) >= 20 and max(drawn) <= 180
    assert 0.55 < sum(d < 60 for d in drawn) / 2000 < 0.7
    assert sum(d > 120 for d in drawn) / 2000 > 0.05


def test_numbers_and_vocabulary():
    assert [number_words(n) for n in (0, 7, 13, 20, 99)] == ["zero", "seven", "thirteen", "twenty", "ninety nine"]
    with pytest.raises(ValueError, match="100"):
        number_words(100)
    words = vocabulary()
    assert 200 <= len(words) <= 300
    assert all(re.fullmatch("[a-z]+", word) for word in words)
