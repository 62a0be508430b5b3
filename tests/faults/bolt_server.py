"""Plain slack_bolt with its default acknowledgement: `python -m tests.faults.bolt_server SLACK_API PORT`.

A listener begins when the event has been acknowledged; each event is answered with "echo WORD", as the echoing
assistant does.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import uvicorn
from slack_bolt import App
from slack_bolt.adapter.starlette.handler import SlackRequestHandler
from slack_sdk import WebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.slack_server import BOT_TOKEN, SECRET


def main(slack_api: str, port: int) -> None:
    bolt = App(signing_secret=SECRET, client=WebClient(token=BOT_TOKEN, base_url=slack_api))

    @bolt.event("message")
    def answer(event: dict[str, Any], say: Any) -> None:
        [word] = re.findall(r'"word": "([^"]+)"', event["text"])
        say(f"echo {word}")

    handler = SlackRequestHandler(bolt)

    async def events(request: Request) -> Response:
        return await handler.handle(request)

    def ready(_: Request) -> Response:
        return PlainTextResponse("ok")

    routes = [Route("/webhooks/slack/events", events, methods=["POST"]), Route("/readyz", ready)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
