"""labbot's web or working half as a process: `python -m tests.bench.labbot_half web|worker READING_S PLACES`.

The reader is scripted and takes READING_S a message without using a processor, as a model elsewhere; a worker has at
most PLACES turns in flight. Prints one line when it listens. KEFU_HOME, KEFU_PORT and KEFU_DATABASE_URL say where.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

from bot.app import Platform, Role, serve
from bot.settings import load_settings
from bot.worker import WorkerLimits
from models.base import Understanding
from tests.lab import Read, Reader, labbot, limit

ASKED, ANSWER = "when are you open?", "we are open 9-5"


class SlowReader(Reader):
    """Reads only after a while."""

    def __init__(self, reading_s: float) -> None:
        super().__init__({ASKED: Read(intent="ask_hours")})
        self._reading_s = reading_s

    async def understand(self, texts: Sequence[str]) -> list[Understanding]:
        await asyncio.sleep(self._reading_s)
        return await super().understand(texts)


def main(role: Role, reading_s: float, places: int) -> None:
    platform = Platform.build(load_settings(), labbot(), role=role, understander=SlowReader(reading_s))
    limit(platform, WorkerLimits(concurrency=places))
    uvloop.run(serve(platform, on_ready=lambda _: print("listening", flush=True)))


if __name__ == "__main__":
    main(cast(Role, sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
