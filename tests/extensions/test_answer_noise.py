"""AnswerNoise: wrong tokens are read back, right ones are still to be said."""

from speech_xl.extensions.answer_noise import AnswerNoise
from speech_xl.model.prompt import IGNORE
from speech_xl.phases import SemanticAlignment
from tests.phases.parts import Given, batch, fit, phase

LONG = ("long", 0.7, [("what was said, and by whom?", "ada said that bob was late again."), ("who?", "ada")])


def test_noise_changes_what_is_read_back_and_not_what_is_to_be_said(folders, tmp_path, monkeypatch):
    read = []
    for share in (0.0, 0.5):
        model = phase(
            SemanticAlignment, folders, {"adapter.*": 0.5}, extensions=[AnswerNoise(share)], cache_frames=False
        )
        one = batch(tmp_path, LONG)
        data = Given([one], tmp_path)
        fit(model, data, 0)
        forward = model.backbone.forward

        def listen_in(speech, ratios, suffixes, *more, forward=forward, **options):
            read.extend(suffix for row in suffixes for suffix in row)
            return forward(speech, ratios, suffixes, *more, **options)

        monkeypatch.setattr(model.backbone, "forward", listen_in)
        fit(model, data, 1)
        one.epoch = 1
        fit(model, data, 1)
    plain, again, noisy, otherwise = read
    assert plain.labels == noisy.labels == otherwise.labels
    assert plain.ids == again.ids
    answers = [place for place, label in enumerate(plain.labels) if label != IGNORE]
    changed = [place for place, (a, b) in enumerate(zip(plain.ids, noisy.ids, strict=True)) if a != b]
    assert changed and set(changed) <= set(answers)
    assert noisy.ids != otherwise.ids, "another epoch has other noise"
