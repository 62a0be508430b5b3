"""A reply that is said while it is written, in a real Chromium: a real server writes, a process of ours serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import ChatPage
from tests.slow_writer import SlowWriter, writing
from tests.streaming_shop import MARK, QUESTION, QUOTED, ShopServer

SENTENCES = ["By hand, please. ", "In cold water. ", "With little soap."]
FIRST_WITHIN_MS = 60_000  # the first question loads what reads it
WATCH = """(log) => { window.added = []; new MutationObserver((changes) => changes.forEach((change) => {
    change.addedNodes.forEach((node) => window.added.push(node.textContent));
})).observe(log.querySelector('.kefu-confirmed'), { childList: true, subtree: true }); }"""


@pytest.fixture
def writer() -> Iterator[SlowWriter]:
    with writing(SlowWriter(SENTENCES)) as slow:
        yield slow


@pytest.fixture
def chat(page: Page, writer: SlowWriter, tmp_path: Path) -> Iterator[ChatPage]:
    server = ShopServer(home=tmp_path, writer_url=writer.url).start()
    yield ChatPage(page, server.url).visit().open()
    server.kill()


def test_the_first_sentence_is_seen_before_the_second_is_written_and_all_grow_in_one_bubble(
    chat: ChatPage, page: Page, writer: SlowWriter
) -> None:
    chat.say(QUESTION)
    writer.let()
    replies = chat.confirmed("bot")
    bubble = replies.locator(".kefu-bubble")
    expect(bubble).to_have_text("By hand, please.", timeout=FIRST_WITHIN_MS)
    assert writer.written == 1
    expect(chat.chat.locator(".kefu-typing")).to_be_visible()
    chat.log.evaluate(WATCH)
    expect(chat.log).to_have_attribute("aria-live", "polite")

    writer.let(2)
    expect(bubble).to_contain_text(MARK)
    whole = f"By hand, please. In cold water. With little soap.\n{MARK}"
    assert bubble.all_inner_texts() == [whole]
    expect(replies).to_have_count(1)
    expect(chat.chat.locator(".kefu-typing")).to_be_hidden()
    assert page.evaluate("window.added") == [
        " In cold water.",
        f" With little soap.\n{MARK}",
    ], "a screen reader hears what is new, and nothing again"

    chat.panel.get_by_role("button", name="切换到中文").click()  # everything is drawn again
    expect(chat.panel.get_by_role("button", name="Switch to English")).to_be_visible()
    assert bubble.all_inner_texts() == [whole]

    page.reload()
    chat.open()
    expect(chat.confirmed("bot").locator(".kefu-bubble")).to_have_count(1)
    assert chat.texts() == [QUESTION, whole]


def test_what_the_customer_says_meanwhile_stands_below_the_bubble_that_goes_on_growing(
    chat: ChatPage, writer: SlowWriter
) -> None:
    chat.say(QUESTION)
    writer.let()
    expect(chat.confirmed("bot").locator(".kefu-bubble")).to_have_text("By hand, please.", timeout=FIRST_WITHIN_MS)
    chat.say("my order")
    expect(chat.confirmed("own")).to_have_count(2)
    writer.let(2)
    chat.hears("Which number?")
    first, own, answer = chat.texts()[1:]
    assert first.startswith("By hand, please. In cold water")
    assert (own, answer) == ("my order", "Which number?")


def test_where_the_writing_fails_the_passage_is_in_the_same_bubble(chat: ChatPage, writer: SlowWriter) -> None:
    writer.sentences[1] = "At 40 degrees. "
    writer.let(3)
    chat.say(QUESTION)
    bubble = chat.confirmed("bot").locator(".kefu-bubble")
    expect(bubble).to_contain_text(QUOTED.rpartition("\n")[2], timeout=FIRST_WITHIN_MS)
    assert bubble.all_inner_texts() == [f"By hand, please.\n{QUOTED}"]


def test_a_reply_that_nobody_looks_at_is_one_unread_message(chat: ChatPage, writer: SlowWriter) -> None:
    chat.say(QUESTION)
    expect(chat.confirmed("own")).to_have_count(1)
    chat.panel.get_by_role("button", name="Close chat").click()
    writer.let(3)
    expect(chat.launcher).to_have_accessible_name("Open chat, 1 unread message", timeout=FIRST_WITHIN_MS)
    expect(chat.chat.locator(".kefu-confirmed")).to_contain_text(MARK)
    expect(chat.launcher).to_have_accessible_name("Open chat, 1 unread message")
