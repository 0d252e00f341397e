"""A stage that is made is parsed by itself, in a process that has read nothing else."""

import subprocess
import sys

ALONE = """
from pathlib import Path
import yaml
from speech_xl.run.layers import Layer
from speech_xl.run.makers import Making
layer = Layer(Path("stages.yaml"), yaml.compose("data: {corpus: {class_path: EmbeddedSpeech}}"))
print(Making.of("WordTimes", [layer], []).data.corpus.name)
"""


def test_a_corpus_is_known_by_its_class_alone_in_a_process_of_its_own():
    made = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True)
    assert made.stdout.strip() == "embedded", made.stderr
