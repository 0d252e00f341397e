"""What happens in a session, told to whoever listens: intervals, segments, seconds heard, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
HELD = 4096  # events that wait for a slow listener before it is left
END = None
LISTS = ("intervals", "segments", "words")  # of a session


class Events:
    """A session's listeners, and what they were told so far.

    Events: ``interval`` (one interval), ``segments`` (the new ones, and the new words of a model that times words),
    ``heard`` (the numbers of a session without its lists, and `total_seconds` of the file that is being heard, where it
    is known), ``error``. After an error a session is as it was before the request: what was told of it since is void,
    and is told again when it is heard again.
    """

    def __init__(self) -> None:
        self.queues: set[asyncio.Queue[tuple[str, Json] | None]] = set()
        self.sinks: set[Callable[[str, Json], None]] = set()
        self.intervals = self.segments = self.words = 0  # told

    def listen(self) -> asyncio.Queue[tuple[str, Json] | None]:
        queue: asyncio.Queue[tuple[str, Json] | None] = asyncio.Queue()
        self.queues.add(queue)
        return queue

    def leave(self, queue: asyncio.Queue[tuple[str, Json] | None]) -> None:
        self.queues.discard(queue)

    def end(self) -> None:
        """Nothing more will happen."""
        for queue in self.queues:
            queue.put_nowait(END)
        self.queues.clear()

    def tell(self, name: str, data: Json) -> None:
        for queue in list(self.queues):
            if queue.qsize() >= HELD:
                self.leave(queue)
                queue.put_nowait(END)
            else:
                queue.put_nowait((name, data))
        for sink in list(self.sinks):
            sink(name, data)

    def tell_news(self, view: Json, total_seconds: float | None = None) -> None:
        """Tell what is new in a session's view."""
        for interval in view["intervals"][self.intervals :]:
            self.tell("interval", interval)
        segments = view["segments"] or []
        if len(segments) > self.segments:
            words = (view["words"] or [])[self.words :]
            self.tell("segments", {"segments": segments[self.segments :], "words": words})
        self.reset(view)
        numbers = {key: value for key, value in view.items() if key not in LISTS}
        self.tell("heard", {**numbers, "total_seconds": total_seconds})

    def reset(self, view: Json) -> None:
        """Take the view for what was told."""
        self.intervals, self.segments, self.words = (len(view[name] or []) for name in LISTS)


def server_sent(name: str | None, data: Any) -> str:
    """One Server-Sent Event; without a name as OpenAI streams them."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n" if name is None else f"event: {name}\ndata: {text}\n\n"
