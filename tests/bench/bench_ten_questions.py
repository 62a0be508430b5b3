"""Ten questions of a customer to the real widget in a real Chromium, of a real `kefu serve`; then under another brand.

python -m tests.bench.bench_ten_questions [FOLDER] [--together]  →  results/ten_questions.json; pictures in FOLDER

The questions were written from a customer's point of view, by an author who had seen neither the starter's articles nor
its training questions; the last of each language is none that a shop's page could answer. Whether a reply is right is
for a person to read: the targets say only that there is one, that what nobody can know is not answered from a page,
and that another brand (tests/brands/harbour.yml in place of the starter's) answers from the same pages. Each question
is a new visitor's: what asks for an order number would ask again under the next one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from playwright.sync_api import Browser, Page, WebSocket, expect, sync_playwright

from bot.assistant.loader import load_assistant
from tests.bench.report import REPOSITORY, write
from tests.bench.serving import fresh_home, serving
from tests.e2e.chat_page import ChatPage
from tests.e2e.chromium import MISSING, find_chromium, launch
from tests.server import STARTER, Server

Language = Literal["en", "zh"]
OTHER_BRAND = REPOSITORY / "tests" / "brands" / "harbour.yml"
SHOTS = REPOSITORY / "tests" / "e2e" / "shots"
PATIENCE_S = 30.0
LOCALES: Mapping[Language, str] = {"en": "en-GB", "zh": "zh-CN"}


@dataclass(frozen=True, kw_only=True)
class Question:
    text: str
    is_answerable: bool = True


QUESTIONS: Mapping[Language, Sequence[Question]] = {
    "en": (
        Question(
            text="The lamp I ordered is too dim for my reading corner. I've already switched it on, can I still send "
            "it back?"
        ),
        Question(text="How long does delivery to Austria take, and what does it cost?"),
        Question(text="My window is 1.40 m wide and 2.60 m from the rail to the floor. Which curtain size do I take?"),
        Question(text="The touch switch of my lamp stopped working after ten months. Is that under warranty?"),
        Question(text="Which curtains did my neighbour at number 12 buy from you last month?", is_answerable=False),
    ),
    "zh": (
        Question(text="你们的会员怎么加入？要交年费吗？"),
        Question(text="我买的刺绣抱枕套能用洗衣机洗吗？会不会掉色？"),
        Question(text="刚下单就发现地址填错了，还来得及改吗？"),
        Question(text="窗帘拆了包装挂上去，觉得颜色不对，还能退吗？运费谁出？"),
        Question(text="你们老板明年打算涨价吗？到时候这盏灯卖多少钱？", is_answerable=False),
    ),
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", nargs="?", type=Path, default=SHOTS, help="for the pictures")
    options.add_argument("--together", action="store_true", help="a language's questions in one conversation")
    given = options.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=PATIENCE_S * 1000)
    replies: list[dict[str, Any]] = []
    with fresh_home() as home, _brands() as brands, sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            sys.exit(MISSING)
        browser = launch(playwright, path)
        for label, assistant in brands.items():
            with serving(home, assistant=assistant) as server:
                replies += _conversations(browser, server, label, given)
        browser.close()
    targets = _targets(replies)
    write("ten_questions", {"one_conversation": given.together, **_figures(replies)}, targets=targets)
    return 0 if all(targets.values()) else 1


@contextmanager
def _brands() -> Iterator[Mapping[str, Path]]:
    """The name of each brand and its assistant: the starter, and a copy of it that is another company's."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "starter"
        shutil.copytree(STARTER, copy)
        shutil.copy(OTHER_BRAND, copy / "brand.yml")
        yield {load_assistant(root, {}).brand.name["en"]: root for root in (STARTER, copy)}


def _conversations(browser: Browser, server: Server, brand: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for language, questions in QUESTIONS.items():
        numbered = list(enumerate(questions, start=1))
        for part in [numbered] if given.together else [[one] for one in numbered]:
            yield from _conversation(browser, server, brand, language, part, given.folder)


def _conversation(
    browser: Browser, server: Server, brand: str, language: Language, questions: Sequence[tuple[int, Question]],
    folder: Path,
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """A new visitor opens the chat and asks these questions, one after the other."""
    window: Any = {"width": 1280, "height": 820}
    context = browser.new_context(viewport=window, locale=LOCALES[language], timezone_id="Europe/Berlin")
    page = context.new_page()
    senders = _senders_of(page)
    chat = ChatPage(page, server.url).visit(f"/demo/?lang={language}").open()
    for number, question in questions:
        about = _asked(chat, server, senders, question.text)
        picture = f"{brand.split()[0].lower()}-{language}-{number}.png"
        page.wait_for_timeout(300)  # what slides in has arrived
        page.screenshot(path=folder / picture)
        asked = {"brand": brand, "language": language, "question": question.text}
        yield {**asked, "is_answerable": question.is_answerable, **about, "picture": picture}
    context.close()


def _senders_of(page: Page) -> list[str]:
    """Filled, while the page lives, with the ids of the conversations that the server opens for it."""
    senders: list[str] = []

    def hear(payload: str | bytes) -> None:
        frame = json.loads(payload)
        if frame.get("type") == "welcome":
            senders.append(str(frame["conversation"]))

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", hear)

    page.on("websocket", opened)
    return senders


def _asked(chat: ChatPage, server: Server, senders: Sequence[str], text: str) -> dict[str, Any]:
    """What the customer then reads, and what the log says of it."""
    before = chat.entries("own").count()
    began = time.perf_counter()
    chat.say(text)
    question = chat.confirmed("own").nth(before)
    expect(question).to_contain_text(text)
    answers = question.locator("xpath=following-sibling::*").and_(chat.entries("bot"))
    expect(answers).not_to_have_count(0)
    took_s = time.perf_counter() - began
    events = _turn(server, senders[-1], text)
    said = [event["text"] for event in events if event["event"] == "bot" and event.get("text")]
    expect(chat.entries("bot").last).to_contain_text(said[-1])
    parsed = events[0]["parse_data"]
    found = parsed.get("knowledge") or {}
    return {
        "reply": "\n".join(answers.locator(".kefu-bubble").all_inner_texts()),
        "sources": [each["source"] for each in found.get("sources", ())],
        "kind": found.get("kind"),
        "offered": [button["title"] for button in found.get("buttons", ())],
        "intent": parsed["intent"]["name"],
        "first_words_after_s": round(took_s, 2),
    }


def _turn(server: Server, sender: str, text: str) -> list[dict[str, Any]]:
    """The events of the turn that this message began, once it has ended."""
    ends_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_at:
        tracker = httpx.get(f"{server.url}/conversations/{sender}/tracker", timeout=PATIENCE_S).raise_for_status()
        events: list[dict[str, Any]] = tracker.json()["events"]
        last = max((place for place, event in enumerate(events) if event["event"] == "user"), default=len(events))
        turn = events[last:]
        if turn and turn[0]["text"] == text and turn[-1].get("name") == "action_listen":
            return turn
        time.sleep(0.05)
    raise AssertionError(f"no answer within {PATIENCE_S:g} s to: {text}")


def _figures(replies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    answerable = [reply for reply in replies if reply["is_answerable"]]
    return {
        "n_questions": sum(map(len, QUESTIONS.values())),
        "n_replies": len(replies),
        "n_answerable": len(answerable),
        "answerable_with_a_source": sum(bool(reply["sources"]) for reply in answerable),
        "answerable_offered_a_choice": sum(bool(reply["offered"]) for reply in answerable),
        "unanswerable_with_a_source": sum(bool(reply["sources"]) for reply in replies if not reply["is_answerable"]),
        "same_sources_under_both_brands": _same_sources(replies),
        "replies": list(replies),
    }


def _same_sources(replies: Sequence[Mapping[str, Any]]) -> int:
    """Questions to which all brands answered from the same pages, or all from none."""
    found: dict[str, list[Sequence[str]]] = {}
    for reply in replies:
        found.setdefault(reply["question"], []).append(reply["sources"])
    return sum(all(sources == first for sources in others) for first, *others in found.values())


def _targets(replies: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    figures = _figures(replies)
    return {
        "every question has a reply": all(reply["reply"] for reply in replies),
        "what no page could say is answered from none": not figures["unanswerable_with_a_source"],
        "both brands answer from the same pages": figures["same_sources_under_both_brands"] == figures["n_questions"],
    }


if __name__ == "__main__":
    sys.exit(main())
