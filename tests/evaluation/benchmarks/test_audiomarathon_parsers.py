"""AudioMarathon's parsers: what each reply is to the published scripts, and what it is strictly."""

import pytest

from speech_xl.evaluation.benchmarks.audiomarathon import official_parsers as official
from speech_xl.evaluation.benchmarks.audiomarathon.profiles import AUTHENTICITY, GENDERS
from speech_xl.evaluation.benchmarks.audiomarathon.strict_parser import parse_choice

YOUNG, EARLY, MID = "Young Adult (18-30)", "Early Career (31-40)", "Mid Career (41-50)"
SENIOR, ELDERLY = "Senior (51-70)", "Elderly (71+)"


def lettered(*texts):
    return dict(zip("ABCDE", texts, strict=False))


SCR = lettered("Fog", "Fuel", "A storm", "A call")
SER = lettered("31 entities", "28 entities", "35 entities", "46 entities")
SED = lettered("Cat", "Dog", "Blender", "Speech")
MC = lettered("Jazz - jazz", "Rock - rock", "Pop - pop", "Blues - blues")
ASC = lettered("Airport - airport", "Traveling by a tram - tram", "Urban park - park", "Metro station - metro_station")
ER = lettered(
    "Fearful - expressing fear or anxiety",
    "Monotone - flat and emotionless delivery",
    "Angry - expressing anger or frustration",
    "Sad - expressing sadness or melancholy",
)
SAR = lettered(YOUNG, EARLY, MID, SENIOR, ELDERLY)
SGR = lettered("Male", "Female")
SGR_TURNED = lettered("Female", "Male")
NOTHING = None  # strictly: no choice is named, or several are

CASES = [  # parser, choices of the row, reply, class to the script ("" and what is no class are dropped), strict label
    (official.parse_scr, SCR, "C", "C", "C"),
    (official.parse_scr, SCR, "c.", "C", "C"),
    (official.parse_scr, SCR, "(D)", "D", "D"),
    (official.parse_scr, SCR, "The answer is B", "A", "B"),  # the A of "answer"
    (official.parse_scr, SCR, "Based on it, C", "B", "C"),
    (official.parse_scr, SCR, "It is unknown", "IT", NOTHING),
    (official.parse_scr, SCR, "none of them", "NONE", NOTHING),
    (official.parse_scr, SCR, "Fog", "FOG", "A"),
    (official.parse_scr, SCR, "Fuel", "FUEL", "B"),
    (official.parse_scr, SCR, "A storm", "A", "C"),  # which is the text of C
    (official.parse_scr, SCR, "B or C", "B", NOTHING),
    (official.parse_scr, SCR, "", "", NOTHING),
    (official.parse_ser, SER, "A", "A", "A"),
    (official.parse_ser, SER, "b", "B", "B"),
    (official.parse_ser, SER, "Dx", "D", NOTHING),  # three characters at most: the first counts
    (official.parse_ser, SER, "46 entities", "", "D"),
    (official.parse_ser, SER, "28", "", "B"),
    (official.parse_ser, SER, "There are 35", "A", "C"),  # the A of "are"
    (official.parse_ser, SER, "Answer: C", "C", "C"),
    (official.parse_ser, SER, "I hear a name", "A", NOTHING),
    (official.parse_ser, SER, "B, not C", "B", NOTHING),
    (official.parse_ser, SER, "choice d", "D", "D"),
    (official.parse_ser, SER, "hmm", "", NOTHING),
    (official.parse_ser, SER, " ", "A", NOTHING),  # the script then reads its own prompt: "a virtual human"
    (official.parse_sed, SED, "B", "B", "B"),
    (official.parse_sed, SED, "I hear a dog", "A", "B"),
    (official.parse_sed, SED, "dog barking", "D", "B"),
    (official.parse_sed, SED, "46 entities", "", NOTHING),
    (official.parse_sed, SED, "Blender", "B", "C"),
    (official.parse_sed, SED, "speech", "C", "D"),
    (official.parse_sed, SED, "The answer is D", "D", "D"),
    (official.parse_sed, SED, "A cat", "A", "A"),
    (official.parse_sed, SED, "A dog", "A", "B"),
    (official.parse_sed, SED, "dog or cat", "D", NOTHING),
    (official.parse_sed, SED, "It is music", "C", NOTHING),
    (official.parse_sed, SED, "B) Cat", "B", NOTHING),  # two choices: B by its letter, A by its text
    (official.parse_sed, SED, "user: hm\nassistant\nB", "B", "B"),
    (official.parse_sed, SED, "", "", NOTHING),
    (official.parse_mc, MC, "B", "B", "B"),
    (official.parse_mc, MC, "Rock", "C", "B"),
    (official.parse_mc, MC, "Jazz", "A", "A"),
    (official.parse_mc, MC, "Blues", "B", "D"),
    (official.parse_mc, MC, "Pop", "", "C"),
    (official.parse_mc, MC, "b) rock", "B", "B"),
    (official.parse_mc, MC, "It is A", "A", "A"),
    (official.parse_mc, MC, "It is a", "A", NOTHING),  # an article whose noun the token limit cut off
    (official.parse_mc, MC, "option d", "D", "D"),
    (official.parse_mc, MC, "I pick C.", "C", "C"),
    (official.parse_mc, MC, "a mix of B and C here", "A", NOTHING),
    (official.parse_mc, MC, "", "", NOTHING),
    (official.parse_asc, ASC, "a", "A", "A"),
    (official.parse_asc, ASC, "c: park", "C", "C"),
    (official.parse_asc, ASC, "option d", "D", "D"),
    (official.parse_asc, ASC, "The answer is B", "", "B"),
    (official.parse_asc, ASC, "Airport", "", "A"),
    (official.parse_asc, ASC, "airport - airport", "A", "A"),
    (official.parse_asc, ASC, "park", "", "C"),
    (official.parse_asc, ASC, "B tram", "B", "B"),  # to the script for the words "a" and "tram", both inside "tram"
    (official.parse_asc, ASC, "D tram", "B", NOTHING),
    (official.parse_asc, ASC, "urban park", "C", "C"),
    (official.parse_asc, ASC, "metro station", "D", "D"),
    (official.parse_asc, ASC, "", "", NOTHING),
    (official.parse_sd, AUTHENTICITY, "a", "real", "a"),
    (official.parse_sd, AUTHENTICITY, "B.", "fake", "b"),
    (official.parse_sd, AUTHENTICITY, "This is a fake", "real", "b"),  # for " a "
    (official.parse_sd, AUTHENTICITY, "fake", "fake", "b"),
    (official.parse_sd, AUTHENTICITY, "Real.", "real", "a"),
    (official.parse_sd, AUTHENTICITY, "unreal", "real", NOTHING),
    (official.parse_sd, AUTHENTICITY, "genuine", "real", NOTHING),
    (official.parse_sd, AUTHENTICITY, "It is synthetic", "fake", NOTHING),
    (official.parse_sd, AUTHENTICITY, "synthetic, not authentic", "", NOTHING),
    (official.parse_sd, AUTHENTICITY, "real or fake", "", NOTHING),
    (official.parse_sd, AUTHENTICITY, "The answer is b", "fake", "b"),
    (official.parse_sd, AUTHENTICITY, "I think it is a", "real", NOTHING),
    (official.parse_sd, AUTHENTICITY, "", "", NOTHING),
    (official.parse_er, ER, "C", "C", "C"),
    (official.parse_er, ER, "(b)", "B", "B"),
    (official.parse_er, ER, "c. angry", "C", "C"),
    (official.parse_er, ER, "option d", "D", "D"),
    (official.parse_er, ER, "Angry", "", "C"),
    (official.parse_er, ER, "Sad", "", "D"),
    (official.parse_er, ER, "Monotone", "", "B"),
    (official.parse_er, ER, "C: Angry", "", "C"),
    (official.parse_er, ER, "The answer is C", "", "C"),
    (official.parse_er, ER, "fear", "A", NOTHING),
    (official.parse_er, ER, "a nomad's song", "C", NOTHING),  # for "mad"
    (official.parse_er, ER, "expressing sadness or melancholy", "D", "D"),
    (official.parse_er, ER, "", "", NOTHING),
    (official.parse_sar, SAR, "b", EARLY, "B"),
    (official.parse_sar, SAR, "C)", MID, "C"),
    (official.parse_sar, SAR, "The answer is d", SENIOR, "D"),
    (official.parse_sar, SAR, "It is a senior", YOUNG, "D"),
    (official.parse_sar, SAR, "Early Career", "", "B"),
    (official.parse_sar, SAR, "31-40", "", "B"),
    (official.parse_sar, SAR, "elderly (71+)", ELDERLY, "E"),
    (official.parse_sar, SAR, "elderly", "", "E"),
    (official.parse_sar, SAR, "a or b", EARLY, NOTHING),  # for the " b" at the end
    (official.parse_sar, SAR, "b, c are both", "", NOTHING),
    (official.parse_sar, SAR, "answer e is right", ELDERLY, "E"),
    (official.parse_sar, SAR, "an adult", "", NOTHING),
    (official.parse_sar, SAR, "", "", NOTHING),
    (official.parse_sgr, SGR, "a", "male", "a"),
    (official.parse_sgr, SGR, "B) female", "female", "b"),
    (official.parse_sgr, SGR, "The answer is b", "", "b"),
    (official.parse_sgr, SGR, "Female", "female", "b"),
    (official.parse_sgr, SGR, "It is a male voice", "male", "a"),
    (official.parse_sgr, SGR, "The speaker is female.", "female", "b"),
    (official.parse_sgr, SGR, "option a", "male", "a"),
    (official.parse_sgr, SGR, "male or female", "", NOTHING),
    (official.parse_sgr, SGR, "a woman", "", NOTHING),
    (official.parse_sgr, SGR_TURNED, "a", "female", "a"),  # the prompt says that a is male
    (official.parse_sgr, SGR_TURNED, "female", "", "b"),  # which "male" is a part of
    (official.parse_sgr, SGR_TURNED, "male", "male", "a"),
    (official.parse_sgr, SGR, "", "", NOTHING),
]


@pytest.mark.parametrize(("parse", "choices", "reply", "published", "strict"), CASES)
def test_a_reply_is_read_as_published_and_strictly(parse, choices, reply, published, strict):
    assert parse(reply, list(choices.values())) == published
    asked = GENDERS if parse is official.parse_sgr else choices
    assert parse_choice(reply, asked) == strict


def test_every_parser_has_ten_cases():
    parsers = [value for name, value in vars(official).items() if name.startswith("parse_")]
    assert len(parsers) == 9 and all(sum(case[0] is one for case in CASES) >= 10 for one in parsers)


MANY = {letter: f"{number} people" for number, letter in enumerate("ABCDEFGHIJKL")}


@pytest.mark.parametrize(
    ("reply", "choices", "label"),
    [
        ("L", MANY, "L"),
        ("option i", MANY, "I"),
        ("I hear 7 people", MANY, "H"),
        ("It is I", MANY, NOTHING),  # the pronoun
        ("11 people", MANY, "L"),  # and not 1
        ("metro", {"1": "metro", "2": "metro station"}, "1"),
        ("the metro station", {"1": "metro", "2": "metro station"}, "2"),
        ("2", {"1": "metro", "2": "metro station"}, "2"),
        ("I'd say yes", {"a": "yes", "b": "no", "d": "maybe"}, "a"),  # the d of "I'd" is no label
        ("same", {"A": "same", "B": "same"}, NOTHING),
        ("雨", {"A": "雪", "B": "雨"}, "B"),
        ("**B**", {"A": "x", "B": "y"}, "B"),
        ("Ｂ）", {"A": "x", "B": "y"}, "B"),  # full width
        ("A and B", {"A": "x", "B": "y"}, NOTHING),
        ("B\nbecause A is wrong", {"A": "x", "B": "y"}, "B"),
        (", e\nt", SAR, NOTHING),  # small letters in junk
        ("e\nt", SAR, NOTHING),
        ("b, t", SAR, NOTHING),
        ("s t d", SAR, NOTHING),
        ("t e x", SAR, NOTHING),
        ("e.g. that", SAR, NOTHING),
        ("I think it is b", AUTHENTICITY, NOTHING),
        ("e", SAR, "E"),
        ("b)", SAR, "B"),
        ("(b)", SAR, "B"),
        ("b. Early", SAR, "B"),
        ("option b", SAR, "B"),
        ("answer: b", SAR, "B"),
        ("it is (b) here", SAR, "B"),
        ("I pick E", SAR, "E"),
        ("no dog", SED, NOTHING),  # the only choice is behind a negation
        ("I hear no dog.", SED, NOTHING),
        ("There isn't a dog", SED, NOTHING),
        ("It isn’t a dog", SED, NOTHING),
        ("I never hear a dog", SED, NOTHING),
        ("neither a dog", SED, NOTHING),
        ("not B", SED, NOTHING),
        ("It is not A", SED, NOTHING),
        ("The answer is not b)", SED, NOTHING),
        ("not fake", AUTHENTICITY, NOTHING),
        ("non-fake", AUTHENTICITY, NOTHING),
        ("not female", GENDERS, NOTHING),
        ("The speaker is not a senior", SAR, NOTHING),
        ("No, it is a dog", SED, "B"),
        ("Not sure, but I hear a dog", SED, "B"),
        ("a dog, no doubt", SED, "B"),
        ("no music but a dog", SED, "B"),
        ("I'd say no", {"a": "yes", "b": "no"}, "b"),  # the negation is a choice
        ("I hear a dog", SED, "B"),
        ("The answer is B", SED, "B"),
    ],
)
def test_any_number_of_choices_and_any_labels_are_read_strictly(reply, choices, label):
    assert parse_choice(reply, choices) == label
