"""The shipped stage transcribes recorded frames of read speech word by word as before, at ratios 1, 4 and 8.

The frames are Whisper-base's of two consecutive utterances of LibriSpeech's dev-clean, 10.7 s, in half precision as the
frame cache keeps them. Another processor rounds otherwise and may choose another token where two scores are nearly
equal. With other kernels (ATEN_CPU_CAPABILITY=default) these transcripts stay the same.
"""

import json

import pytest
from safetensors.torch import load_file

from speech_xl.evaluation.metrics import wer_counts
from tests.golden.shipped import FRAMES, RATIOS, TRANSCRIPT, transcripts, without_whisper

RECORDED = json.loads(TRANSCRIPT.read_text())
SENSIBLE = 0.6  # highest WER of a transcript worth keeping


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return transcripts(without_whisper(tmp_path_factory.mktemp("shipped")), load_file(FRAMES)["frames"])


@pytest.mark.parametrize("ratio", RATIOS)
def test_transcripts_are_as_recorded(found, ratio):
    assert found[str(ratio)] == RECORDED["transcripts"][str(ratio)]


@pytest.mark.parametrize("ratio", RATIOS)
def test_recorded_transcripts_are_near_the_reference(ratio):
    errors, words = wer_counts(RECORDED["reference"], RECORDED["transcripts"][str(ratio)])
    assert words == len(RECORDED["reference"].split()) and errors / words == pytest.approx(RECORDED["wer"][str(ratio)])
    assert errors / words < SENSIBLE


def test_each_ratio_has_a_transcript_of_its_own():
    assert len({RECORDED["transcripts"][str(ratio)] for ratio in RATIOS}) == len(RATIOS)
