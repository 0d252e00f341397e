"""What a client may send, keep and wait for; each limit is a flag of `speech-xl serve`, told by ``GET /v1/limits``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

MIB = 1 << 20
RATIOS = (1, 2, 4, 8, 16)  # that a client may choose from, where the model has SSTs


def _limit(default: float, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True)
class Limits:
    """Bytes, seconds and counts; the name of each says which."""

    max_upload_bytes: int = _limit(256 * MIB, "of one audio file; beyond: 413")
    max_base64_bytes: int = _limit(32 * MIB, "of a chat request, whose audio is base64 in JSON; beyond: 413")
    max_json_bytes: int = _limit(64 << 10, "of any other JSON body; beyond: 413")
    max_message_bytes: int = _limit(MIB, "of one WebSocket message; beyond: the connection is closed with 1009")
    max_audio_seconds: int = _limit(2 * 3600, "of audio in one session or request; beyond: 413")
    max_sessions: int = _limit(64, "sessions, in memory and on disk; beyond: 429")
    max_kv_bytes: int = _limit(2048 * MIB, "of keys and values of all sessions in memory; idle ones go to disk first")
    max_question_characters: int = _limit(4000, "of a question; beyond: 400")
    max_new_tokens: int = _limit(1024, "that an answer may be allowed; beyond: 400")
    max_uploads: int = _limit(8, "uploads at once; beyond: 429")
    max_waiting: int = _limit(64, "requests that wait for the model or use it; beyond: 429")
    max_event_streams: int = _limit(64, "open streams of events; beyond: 429")
    max_connections: int = _limit(512, "open connections; beyond: 503")
    header_seconds: int = _limit(10, "that a request's head may take; the connection is closed after it")
    upload_idle_seconds: int = _limit(20, "without a byte of a body; beyond: 408")
    min_upload_bytes_per_second: int = _limit(1000, "of a body, after its first upload_idle_seconds; below: 408")
    stream_idle_seconds: int = _limit(300, "without a message on a WebSocket; beyond: it is closed")
    idle_seconds: int = _limit(300, "after which an unused session lies on disk alone")
    expire_seconds: int = _limit(7 * 86400, "after which an unused session is deleted")
    save_seconds: int = _limit(5, "between saves of a session that hears a WebSocket")
    shutdown_seconds: int = _limit(10, "for requests to end when the server stops")

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that is no whole number from 1 upwards."""
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: got {value!r}; give a whole number from 1 upwards")

    @classmethod
    def abouts(cls) -> dict[str, str]:
        """What each limit is of, by its name."""
        return {one.name: one.metadata["about"] for one in fields(cls)}
