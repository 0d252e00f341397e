"""Auto classes know the model from `import speech_xl` on, which imports neither torch nor transformers."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BEFORE = """
import sys, speech_xl
heavy = {"torch", "transformers", "lightning", "lhotse"} & set(sys.modules)
assert not heavy, heavy
from transformers import AutoConfig, CONFIG_MAPPING, PROCESSOR_MAPPING
assert CONFIG_MAPPING["speech_xl"] is speech_xl.SpeechXLConfig
assert "speech_xl.hub.model" not in sys.modules
from transformers.models.auto.processing_auto import AutoProcessor
assert PROCESSOR_MAPPING[speech_xl.SpeechXLConfig] is speech_xl.SpeechXLProcessor
assert not [one for one in sys.meta_path if type(one).__module__.startswith("speech_xl") and one.awaited]
"""
AFTER = """
from transformers import AutoConfig, AutoProcessor, CONFIG_MAPPING, PROCESSOR_MAPPING
import speech_xl
assert CONFIG_MAPPING["speech_xl"] is speech_xl.SpeechXLConfig
assert PROCESSOR_MAPPING[speech_xl.SpeechXLConfig] is speech_xl.SpeechXLProcessor
"""

FIRST = """
from speech_xl import NAME
from transformers import AutoProcessor, CONFIG_MAPPING, PROCESSOR_MAPPING
import speech_xl
assert CONFIG_MAPPING["speech_xl"] is speech_xl.SpeechXLConfig
assert PROCESSOR_MAPPING[speech_xl.SpeechXLConfig] is speech_xl.SpeechXLProcessor
"""
OURS = [FIRST.replace("NAME", name) for name in ("SpeechXL", "SpeechXLConfig", "SpeechXLProcessor")]
OURS += ["import speech_xl.hub.parts", "import speech_xl.hub.export"]


@pytest.mark.slow  # tests/hub/fresh.py imports speech_xl first, and the test of a kill transformers
@pytest.mark.parametrize("code", [BEFORE, AFTER, *OURS])
def test_whichever_is_imported_first(code):
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=300)


def test_a_name_that_is_not_there_is_an_attribute_error():
    import speech_xl

    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = speech_xl.nothing
