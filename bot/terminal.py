"""A conversation in the terminal: `kefu chat`. It runs a whole platform over a private database.

Invariant: what a bot or a customer says is printed as it is, never read as markup; Ctrl-C ends at once.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.app import Platform
from bot.settings import Settings
from bot.turns import Bot, TurnTrace
from connectors.base import Buttons, ChannelLimits, Image, InboundMessage, QuickReplies
from connectors.rendering import degrade, parts
from models.base import KIND
from models.registry import Registry
from models.runtime import ServedUnderstander

PROMPT = "you> "
ANSWER_WITHIN_S = 60.0
SHOWN = ChannelLimits(max_text_chars=100_000, max_buttons=100, has_cards=False)


async def talk(settings: Settings, bot: Bot, scratch: Path, *, debug: bool, out: Console) -> None:
    """Talk until /quit or the end of input, with the model that serves and nothing else of KEFU_HOME.

    Args:
        scratch: an empty folder for the database and what custom actions keep.
        debug: show after each answer how it came about.
    """
    private = settings.model_copy(update={"database_url": f"sqlite:///{scratch / 'chat.db'}", "home": scratch})
    registry = Registry(settings.models_dir, bot.assistant.assistant_id)
    served = ServedUnderstander(registry, KIND, threads=settings.inference_threads)
    traces: list[TurnTrace] = []
    platform = Platform.build(private, bot, connectors=(), understander=served, observer=traces.append)
    await platform.start()
    try:
        async for number, text, payloads in _said(out):
            bodies = await _answer(platform, number, text)
            if not bodies:
                out.print(Text("(no answer)", "dim"))
            payloads[:] = _print_replies(bodies, out)
            if debug and traces:
                _print_trace(traces[-1], out)
    finally:
        await platform.stop()


async def _said(out: Console) -> AsyncIterator[tuple[int, str, list[str]]]:
    """What the person says: its number, its text, and a list that takes the payloads of the buttons shown next."""
    payloads: list[str] = []
    number = 0
    lines = _lines_of_stdin()
    while True:
        out.print(Text(PROMPT), end="")
        line = await lines.get()
        if line is None or (text := line.strip()) in {"/quit", "/exit"}:
            return
        if not text:
            continue
        if text.isdecimal() and 1 <= int(text) <= len(payloads):
            text = payloads[int(text) - 1]
        number += 1
        yield number, text, payloads


def _lines_of_stdin() -> asyncio.Queue[str | None]:
    """Lines as they are typed, None at the end.

    A read of a terminal cannot be cancelled, so a thread does it that nobody waits for. It reads the descriptor and not
    `sys.stdin`, whose lock the interpreter wants when it ends.
    """
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    descriptor = sys.stdin.fileno()

    def read() -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        with suppress(RuntimeError):  # the loop is closed: the conversation is over
            while chunk := os.read(descriptor, 65536):
                *whole, rest = (rest + decoder.decode(chunk)).split("\n")
                for line in whole:
                    loop.call_soon_threadsafe(lines.put_nowait, line)
            if rest:
                loop.call_soon_threadsafe(lines.put_nowait, rest)
            loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, name="kefu-stdin", daemon=True).start()
    return lines


async def _answer(platform: Platform, number: int, text: str) -> Sequence[Mapping[str, Any]]:
    message = InboundMessage(
        channel="rest",
        account="",
        external_id=f"chat-{number}",
        customer="you",
        sender_id="you",
        text=text,
        received_at=datetime.now(UTC),
        input_channel="cmdline",
    )
    [receipt] = await platform.ports.receive([message])
    replies = await platform.ports.wait_for_reply(receipt.inbound_id, ANSWER_WITHIN_S) or []
    return [reply.body for reply in replies]


def _print_replies(bodies: Sequence[Mapping[str, Any]], out: Console) -> list[str]:
    """Print Rasa bot messages; returns the payloads of the buttons, in the order of their numbers."""
    payloads: list[str] = []
    for part in (shown for body in bodies for whole in parts(body) for shown in degrade(whole, SHOWN)):
        text = f"(image) {part.url}" if isinstance(part, Image) else getattr(part, "text", "")
        if text:
            out.print(Text.assemble(("bot>", "cyan"), f" {text}"), soft_wrap=True)
        for button in part.buttons if isinstance(part, Buttons | QuickReplies) else ():
            payloads.append(button.payload or button.title)
            out.print(Text.assemble("     ", (str(len(payloads)), "bold"), f"  {button.title}"), soft_wrap=True)
    return payloads


def _print_trace(trace: TurnTrace, out: Console) -> None:
    shown = trace.to_json()
    ranking = ", ".join(f"{score['name']} {score['confidence']:.2f}" for score in shown["ranking"]) or "(payload)"
    rows = [
        ("intent", f"{shown['intent']} {shown['confidence']:.2f}   of {ranking}"),
        ("sentiment, language", f"{shown['sentiment']}, {shown['language']}   model {shown['model_version']}"),
        ("entities", ", ".join(f"{e['entity']}={e['value']}" for e in shown["entities"]) or "-"),
        ("slots", ", ".join(f"{name}={value}" for name, value in shown["slots"].items()) or "-"),
        *((d["action"], f"{d['policy']} {d['confidence']:.2f}   {d['why']}") for d in shown["decisions"]),
    ]
    table = Table(show_header=False, box=None, style="dim")
    for name, value in rows:
        table.add_row(Text(name), Text(value))
    out.print(table)
