"""What `SpeechXL.generate` gives is what a memory answers, also where a transcript is asked for in windows."""

import torch

from experiments.random_models import audio
from speech_xl.data.transcript import Transcript
from speech_xl.data.windows import Windows
from speech_xl.hub.answering import answer_ids
from tests.listening_models import tiny_model

RATE = 16_000


def test_a_transcript_in_windows_is_the_memory_s():
    model, sound = tiny_model(transcript=Transcript(Windows(1.0, multiple_of=1.0))), torch.as_tensor(audio(2.5)).float()
    memory = model.listen(sound, rate=RATE)
    memory.finish()
    for question in (None, model.backbone.llm.prompt.question(model.transcript.instruction)):
        ids = answer_ids(model, sound, question, None, 10_000)
        assert model.backbone.llm.prompt.text(ids.tolist()) == memory.ask(model.transcript.instruction, 10_000).text
    assert len(answer_ids(model, sound, None, None, 5)) == 5
    other = model.backbone.llm.prompt.question("who speaks?")
    assert model.backbone.llm.prompt.text(answer_ids(model, sound, other, None, 20).tolist()) == (
        memory.ask("who speaks?", 20).text
    )
