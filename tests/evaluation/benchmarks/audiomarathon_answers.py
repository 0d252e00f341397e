"""Answers to AudioMarathon's items, as the evaluator writes them, for the tests of its scorers."""

from speech_xl.data.items import Item
from tests.predictions import make_prediction

CHOICES = {
    "SCR": ("Fog", "Fuel", "A storm", "A call"),
    "SER": ("31 entities", "28 entities", "35 entities", "46 entities"),
    "SED": ("Cat", "Dog", "Blender", "Speech"),
    "MC": ("Jazz - jazz", "Rock - rock", "Pop - pop", "Blues - blues"),
    "ASC": ("Airport - airport", "Tram - tram", "Urban park - park", "Metro station - metro_station"),
    "ER": ("Fearful", "Monotone", "Angry", "Sad"),
    "SAR": (
        "Young Adult (18-30)",
        "Early Career (31-40)",
        "Mid Career (41-50)",
        "Senior (51-70)",
        "Elderly (71+)",
    ),
    "SGR": ("Male", "Female"),
}


def answer(task, number, truth, reply, failed=None, timestamps=None, about=None, choices=None, cut=None):
    """The answer to item `number`, of a session of its own unless `cut` names it."""
    labels = dict(zip("ABCDE", choices or CHOICES.get(task, ()), strict=False))
    item = Item(
        benchmark="audiomarathon",
        id=f"{task}/{number}",
        task=task,
        prompt="?",
        answer=truth,
        max_tokens=5,
        choices=labels,
        about=about or {},
    )
    return make_prediction(
        cut or f"{task}{number}",
        1,
        task="qa",
        kind=task,
        instruction="?",
        reference=truth,
        hypothesis="" if failed else reply,
        failed=failed,
        timestamps=timestamps,
        item=item.to_json(),
    )


def answers(task, *pairs):
    """Answers from (truth, reply) pairs."""
    return [answer(task, number, *pair) for number, pair in enumerate(pairs)]
