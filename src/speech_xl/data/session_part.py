"""SessionPart: what a training cut knows about the session it was cut out of, in one place of its custom fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from lhotse.cut import Cut, MonoCut, MultiCut
from lhotse.utils import fastcopy

KEY = "session_part"  # in `cut.custom`, which lhotse writes and copies as plain JSON
AnyCut = TypeVar("AnyCut", bound=Cut)


@dataclass(frozen=True)
class SessionPart:
    """A run of utterances out of a session.

    session_start     second of the recording at which the session begins
    session_duration  seconds of the session
    fixed             whether it is the same in every epoch
    offset            second of the session from which its frames and timestamps count; 0: they count from its own start
    """

    session_start: float
    session_duration: float
    fixed: bool = False
    offset: float = 0.0

    @classmethod
    def of(cls, cut: Cut) -> SessionPart | None:
        """What a cut says about itself; None for a whole session."""
        found = (getattr(cut, "custom", None) or {}).get(KEY)
        return None if found is None else cls(**found)

    def written(self, cut: AnyCut) -> AnyCut:
        """The cut with this in its custom fields."""
        return replace(cut, custom=(getattr(cut, "custom", None) or {}) | {KEY: asdict(self)})  # type: ignore[type-var]

    def session(self, cut: MonoCut | MultiCut) -> MonoCut | MultiCut:
        """The session that a cut is a part of, without its labels."""
        return fastcopy(cut, supervisions=[], custom=None, start=self.session_start, duration=self.session_duration)


def session_offset(cut: Cut) -> float:
    """The second of the session from which a cut's frames and timestamps count; 0 unless it has `absolute_time`."""
    part = SessionPart.of(cut)
    return 0.0 if part is None else part.offset
