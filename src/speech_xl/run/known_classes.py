"""Imports every module whose classes a configuration may name, so that a class's plain name is enough.

A parser finds a class by its name alone once its module has been imported. Nothing else in the suite imports an
extension for its name.
"""

import speech_xl.callbacks  # noqa: F401
import speech_xl.data.audio_folder  # noqa: F401
import speech_xl.data.item_folder  # noqa: F401
import speech_xl.data.manifests  # noqa: F401
import speech_xl.data.speed_perturbation  # noqa: F401
import speech_xl.extensions.answer_noise  # noqa: F401
import speech_xl.extensions.contrastive  # noqa: F401
import speech_xl.extensions.ctc  # noqa: F401
import speech_xl.extensions.pauses  # noqa: F401
import speech_xl.extensions.time_code  # noqa: F401
import speech_xl.extensions.timestamps.transcript  # noqa: F401
import speech_xl.extensions.timestamps.word_times  # noqa: F401
import speech_xl.extensions.voice_adapter  # noqa: F401
import speech_xl.phases  # noqa: F401
