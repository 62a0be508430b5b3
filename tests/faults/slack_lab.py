"""labbot in Slack as a serving process of its own, with a scripted reader: `python -m tests.faults.slack_lab API_URL`.

Prints one line when it listens. KEFU_HOME and KEFU_PORT say where.
"""

from __future__ import annotations

import asyncio
import sys

from bot.app import Platform, serve
from bot.settings import load_settings
from tests.lab import Reader, labbot
from tests.slack_server import credentials


def main(api_url: str) -> None:
    bot = labbot(credentials={"slack": credentials(api_url)})
    platform = Platform.build(load_settings(), bot, understander=Reader())
    asyncio.run(serve(platform, on_ready=lambda _: print("listening", flush=True)))


if __name__ == "__main__":
    main(sys.argv[1])
