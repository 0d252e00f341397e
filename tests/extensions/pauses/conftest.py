"""Speech with known pauses: espeak-ng's, as the embedded corpus has it."""

import numpy as np
import pytest

from data_recipes.espeak import Request, read_chunk, speak_chunk
from speech_xl.data.sessions import Utterance, assemble_session

PAUSES = [0.4, 0.9, 0.5, 0.7, 0.6, 0.4]
TEXTS = ["the morning train was late again", "nobody knew why", "we waited on the platform", "then it came", "at last"]


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """A session of five utterances; its supervisions say where they are."""
    folder = tmp_path_factory.mktemp("pauses")
    speak_chunk([Request("gmw/en-US+f3", 150, 50, text) for text in TEXTS], folder / "a.npz")
    spoken = [Utterance(one.samples, "x", "s") for one in read_chunk(folder / "a.npz")]
    return assemble_session("said", spoken, PAUSES, folder / "said.flac", noise_rms=1e-3)


@pytest.fixture(scope="session")
def said(session):
    return session.load_audio()[0].astype(np.float32)
