"""SessionPart: written into a cut, kept when the cut is stored, and read back to the session it is a part of."""

import json

from lhotse import MonoCut

from speech_xl.data.dataset import Excerpt
from speech_xl.data.frame_cache import session_of
from speech_xl.data.session_part import SessionPart, session_offset


def test_a_part_survives_storing_and_leads_back_to_its_session(tiny_corpus):
    parts = 0
    for cut in tiny_corpus(sessions=6).cuts("train"):
        assert SessionPart.of(cut) is None and session_offset(cut) == 0.0
        part = Excerpt(0.3, 0.8, absolute_time=True)(cut, 0, 0)
        if part.id == cut.id:
            continue
        again = MonoCut.from_dict(json.loads(json.dumps(part.to_dict())))
        about = SessionPart.of(again)
        assert about == SessionPart(cut.start, cut.duration, False, part.start - cut.start)
        assert session_offset(again) == about.offset
        session = session_of(again)
        assert (session.start, session.duration, session.supervisions) == (cut.start, cut.duration, [])
        fixed = Excerpt(0.3, 0.8, fixed=True)(cut, 0, 0)
        assert session_of(fixed) is None and (fixed.id == cut.id or SessionPart.of(fixed).fixed)
        parts += 1
    assert parts >= 3


def test_other_custom_fields_stay(tiny_corpus):
    cut = next(iter(tiny_corpus(sessions=1).cuts("train")))
    cut.custom = {"caption": "one", "place": "here"}
    written = SessionPart(0.0, 9.0).written(cut)
    assert written.custom == {"caption": "one", "place": "here"} | {
        "session_part": {"session_start": 0.0, "session_duration": 9.0, "fixed": False, "offset": 0.0}
    }
    assert cut.custom == {"caption": "one", "place": "here"}, "the cut itself is left alone"
