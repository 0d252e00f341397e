"""Every corpus that comes along, imported so that a plain class name is enough in a config."""

from data_recipes.audiomarathon import AudioMarathon
from data_recipes.earnings22_cleaned import Earnings22Cleaned
from data_recipes.embedded import EmbeddedSpeech
from data_recipes.lhotse_corpora import AMI, Earnings21, Earnings22, TedLium3, VoxPopuli
from data_recipes.librispeech_long import LibriSpeechLong
from data_recipes.longspeech import LongSpeech
from data_recipes.longspeech_mini import LongSpeechMini
from data_recipes.marathon_mini import MarathonMini
from data_recipes.mini_librispeech import MiniLibriSpeech
from data_recipes.several_corpora import SeveralCorpora
from data_recipes.spoken_digits import SpokenDigits
from data_recipes.voice_attributes import VoiceAttributes

__all__ = [
    "AMI",
    "AudioMarathon",
    "Earnings21",
    "Earnings22",
    "Earnings22Cleaned",
    "EmbeddedSpeech",
    "LibriSpeechLong",
    "LongSpeech",
    "LongSpeechMini",
    "MarathonMini",
    "MiniLibriSpeech",
    "SeveralCorpora",
    "SpokenDigits",
    "TedLium3",
    "VoiceAttributes",
    "VoxPopuli",
]
