"""Every corpus that comes along, imported so that a plain class name is enough in a config."""

from data_recipes.audiomarathon import AudioMarathon
from data_recipes.embedded import EmbeddedSpeech
from data_recipes.longspeech import LongSpeech
from data_recipes.longspeech_mini import LongSpeechMini
from data_recipes.marathon_mini import MarathonMini
from data_recipes.mini_librispeech import MiniLibriSpeech
from data_recipes.several_corpora import SeveralCorpora
from data_recipes.spoken_digits import SpokenDigits
from data_recipes.voice_attributes import VoiceAttributes

__all__ = [
    "AudioMarathon",
    "EmbeddedSpeech",
    "LongSpeech",
    "LongSpeechMini",
    "MarathonMini",
    "MiniLibriSpeech",
    "SeveralCorpora",
    "SpokenDigits",
    "VoiceAttributes",
]
