"""labbot's web or working half as a process with a scripted reader: `python -m tests.bench.labbot_half web|worker`.

Prints one line when it listens. KEFU_HOME, KEFU_PORT and KEFU_DATABASE_URL say where.
"""

from __future__ import annotations

import sys
from typing import cast

import uvloop

from bot.app import Platform, Role, serve
from bot.settings import load_settings
from tests.lab import Read, Reader, labbot

ASKED, ANSWER = "when are you open?", "we are open 9-5"


def main(role: Role) -> None:
    reader = Reader({ASKED: Read(intent="ask_hours")})
    platform = Platform.build(load_settings(), labbot(), role=role, understander=reader)
    uvloop.run(serve(platform, on_ready=lambda _: print("listening", flush=True)))


if __name__ == "__main__":
    main(cast(Role, sys.argv[1]))
