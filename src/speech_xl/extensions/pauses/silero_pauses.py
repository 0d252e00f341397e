"""SileroPauses: intervals that end where nobody speaks, found in the audio by Silero VAD. docs/extensions/pauses.md."""

import hashlib
import json
from pathlib import Path

import numpy as np
from lhotse.cut import Cut

from speech_xl import SHORTEST_SECONDS
from speech_xl.checks import number
from speech_xl.data.audio import load_audio
from speech_xl.data.frame_cache import heard_key, session_of
from speech_xl.data.partition import Partition, packed_ends
from speech_xl.extensions.pauses.activity import CHUNKS_A_SECOND, activity, weights_file
from speech_xl.storage.files import check_writable, naming, replacing

RELEASE = 0.15  # speech ends below `threshold` minus this, as in the package silero-vad


class SileroPauses(Partition):
    """As `PauseWindows`, from the audio alone: intervals end in the middle of a pause that Silero VAD finds.

    Each ends in the last pause that `max_seconds` reach, and in a fixed window where nobody pauses. A session is
    listened to once; its pauses are kept in the data module's `cache_dir`, or in memory where there is none.

    Args:
        max_seconds: the longest interval; the last one may be a tenth of a second longer.
        min_seconds: no pause ends an interval earlier; the last one is what is left.
        pause_seconds: a stretch without speech is a pause from this length on.
        threshold: speech begins at this probability, and ends 0.15 below it.
    """

    def __init__(
        self, max_seconds: float, min_seconds: float = 1.0, pause_seconds: float = 0.1, threshold: float = 0.5
    ) -> None:
        self.max_seconds = float(number("partition.max_seconds", max_seconds, least=SHORTEST_SECONDS))
        self.min_seconds = float(
            number("partition.min_seconds", min_seconds, least=SHORTEST_SECONDS, most=self.max_seconds)
        )
        self.pause_seconds = float(number("partition.pause_seconds", pause_seconds, above=0, unit="seconds"))
        self.threshold = float(number("partition.threshold", threshold, least=0.2, most=0.99))
        self.folder: Path | None = None
        self._found: dict[str, list[list[float]]] = {}  # where there is no folder

    def keep_in(self, cache_dir: str) -> None:
        weights = hashlib.sha256(weights_file().read_bytes()).hexdigest()  # raises here where they are missing
        self.folder = Path(cache_dir) / "pauses" / weights[:12]
        check_writable(self.folder, "data.cache_dir")

    def __call__(self, cut: Cut) -> list[float]:
        session = session_of(cut)
        first = 0.0 if session is None else getattr(cut, "start", 0.0) - session.start
        middles = ((start + end) / 2 - first for start, end in self.pauses(cut if session is None else session))
        return packed_ends(middles, cut, self.max_seconds, self.min_seconds)

    def pauses(self, cut: Cut) -> list[list[float]]:
        """[start, end] of the pauses between speech in a cut, in seconds from its start. Raises AudioError."""
        key = f"{heard_key(cut)}-{self.threshold:g}-{self.pause_seconds:g}"
        if self.folder is None:
            if key not in self._found:
                self._found[key] = self._listen(cut)
            return self._found[key]
        path = self.folder / key[:2] / f"{key}.json"
        try:
            return json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):  # a damaged file is made again
            found = self._listen(cut)
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, flush=False) as draft:
            draft.write_text(json.dumps(found))
        return found

    def _listen(self, cut: Cut) -> list[list[float]]:
        return pauses_between(activity()(load_audio(cut)).numpy(), self.threshold, self.pause_seconds)


def pauses_between(probabilities: np.ndarray, threshold: float, seconds: float) -> list[list[float]]:
    """[start, end] in seconds of stretches of at least `seconds` without speech, between speech and speech.

    probabilities [C] of 32 ms each. Speech goes on until they fall below `threshold` - 0.15, silence until they reach
    `threshold`, as in the package silero-vad.
    """
    speech, silence = probabilities >= threshold, probabilities < threshold - RELEASE
    known = np.where(speech | silence, np.arange(len(probabilities)), -1)
    last = np.maximum.accumulate(known) if len(known) else known
    spoken = np.flatnonzero(speech[last] & (last >= 0))
    gaps = np.flatnonzero(np.diff(spoken) > 1)
    found = [[float(spoken[at] + 1) / CHUNKS_A_SECOND, float(spoken[at + 1]) / CHUNKS_A_SECOND] for at in gaps]
    return [[start, end] for start, end in found if end - start >= seconds - 1e-9]
