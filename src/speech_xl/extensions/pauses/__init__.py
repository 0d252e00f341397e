"""Intervals that end in pauses which a voice activity detector finds, without supervisions."""

from speech_xl.extensions.pauses.silero_pauses import SileroPauses

__all__ = ["SileroPauses"]
