"""Simple sentences in six languages with the espeak-ng voices that speak them, split like those of the grammar."""

from __future__ import annotations

import random
from dataclasses import dataclass

from data_recipes.grammar import CITIES, MEN, WOMEN, split_of
from data_recipes.voices import VARIANTS

HELD_OUT = {"dev": 2, "test": 3}
"""Variants of each gender and language that only this split hears."""


@dataclass(frozen=True)
class Language:
    """A language: its code, espeak-ng's voice file, sentences, and words for their slots."""

    code: str
    voice: str
    templates: tuple[str, ...]
    days: tuple[str, ...]
    numbers: tuple[str, ...]
    objects: tuple[str, ...]


def _language(code: str, voice: str, templates: str, days: str, numbers: str, objects: str) -> Language:
    lines = tuple(line.strip() for line in templates.strip().splitlines())
    return Language(code, voice, lines, tuple(days.split()), tuple(numbers.split()), tuple(objects.split()))


LANGUAGES = {
    "Dutch": _language(
        "nl",
        "gmw/nl",
        """op {day} koopt {name} {number} {object}
        {name} woont in {city} en verkoopt {object}
        de trein naar {city} vertrekt op {day} om {number} uur
        op de markt in {city} zagen wij {number} {object}""",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
        "twee drie vier vijf zes zeven acht negen tien",
        "appels boeken lampen stoelen klokken bloemen kaarsen schilderijen",
    ),
    "English": _language(
        "en",
        "gmw/en-US",
        """on {day} {name} buys {number} {object}
        {name} lives in {city} and sells {object}
        the train to {city} leaves on {day} at {number}
        at the market in {city} we saw {number} {object}""",
        "monday tuesday wednesday thursday friday saturday sunday",
        "two three four five six seven eight nine ten",
        "apples books lamps chairs clocks flowers candles paintings",
    ),
    "French": _language(
        "fr",
        "roa/fr",
        """le {day} {name} achète {number} {object}
        {name} habite à {city} et vend des {object}
        le train pour {city} part le {day} à {number} heures
        au marché de {city} nous avons vu {number} {object}""",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "deux trois quatre cinq six sept huit neuf dix",
        "pommes livres lampes chaises horloges fleurs bougies tableaux",
    ),
    "German": _language(
        "de",
        "gmw/de",
        """am {day} kauft {name} {number} {object}
        {name} wohnt in {city} und verkauft {object}
        der zug nach {city} fährt am {day} um {number} uhr ab
        auf dem markt in {city} sahen wir {number} {object}""",
        "montag dienstag mittwoch donnerstag freitag samstag sonntag",
        "zwei drei vier fünf sechs sieben acht neun zehn",
        "äpfel bücher lampen stühle uhren blumen kerzen bilder",
    ),
    "Italian": _language(
        "it",
        "roa/it",
        """{day} {name} compra {number} {object}
        {name} abita a {city} e vende {object}
        il treno per {city} parte {day} alle {number}
        al mercato di {city} abbiamo visto {number} {object}""",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica",
        "due tre quattro cinque sei sette otto nove dieci",
        "mele libri lampade sedie orologi fiori candele quadri",
    ),
    "Spanish": _language(
        "es",
        "roa/es",
        """el {day} {name} compra {number} {object}
        {name} vive en {city} y vende {object}
        el tren a {city} sale el {day} a las {number}
        en el mercado de {city} vimos {number} {object}""",
        "lunes martes miércoles jueves viernes sábado domingo",
        "dos tres cuatro cinco seis siete ocho nueve diez",
        "manzanas libros lámparas sillas relojes flores velas cuadros",
    ),
}


def draw_text(language: str, split: str, rng: random.Random) -> str:
    """A sentence that only this split has."""
    known = LANGUAGES[language]
    while True:
        text = rng.choice(known.templates).format(
            day=rng.choice(known.days),
            number=rng.choice(known.numbers),
            object=rng.choice(known.objects),
            name=rng.choice(WOMEN + MEN),
            city=rng.choice(CITIES),
        )
        if split_of(text) == split:
            return text


def draw_voice(language: str, split: str, rng: random.Random) -> tuple[str, str]:
    """(espeak-ng voice, gender): the split's variants of a language's voice, the same for every seed."""
    gender = rng.choice("FM")
    variants = list(VARIANTS[gender])
    random.Random(f"{language}-{gender}").shuffle(variants)
    dev, test = HELD_OUT["dev"], HELD_OUT["dev"] + HELD_OUT["test"]
    shared = {"dev": variants[:dev], "test": variants[dev:test], "train": variants[test:]}
    return f"{LANGUAGES[language].voice}+{rng.choice(shared[split])}", gender
