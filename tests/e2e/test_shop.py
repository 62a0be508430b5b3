"""A customer in the real shop: the trained starter behind `kefu serve`, in English, in Chinese, and through a crash."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import ChatPage
from tests.server import Server

pytestmark = pytest.mark.e2e
ANSWER_WITHIN_MS = 20_000


def ask(chat: ChatPage, text: str, expected: str | re.Pattern[str]) -> None:
    """Say it and wait for an answer with these words, below the question and in the bot's own entries only."""
    asked = chat.entries("own").count()
    chat.say(text)
    question = chat.confirmed("own").nth(asked)
    expect(question).to_contain_text(text, timeout=ANSWER_WITHIN_MS)
    answers = question.locator("xpath=following-sibling::*").and_(chat.entries("bot"))
    expect(answers.filter(has_text=expected)).not_to_have_count(0, timeout=ANSWER_WITHIN_MS)


def test_an_english_customer(page: Page, serve: Callable[..., Server], shot: Callable[[str], None]) -> None:
    chat = ChatPage(page, serve().url).visit().open()
    ask(chat, "Hi! Where is my parcel?", "What is your order number?")
    expect(chat.entries("bot").first).to_contain_text("automated assistant")
    ask(chat, "A-9999", "order A-9999")
    ask(chat, "anna.weber@example.com", "I can't find an order")
    ask(chat, "do you ship to France?", "all other EU countries")
    ask(chat, "A-1001", "order A-1001")
    before = chat.texts()
    page.reload()
    chat.open()
    expect(chat.log).to_contain_text("order A-1001")
    assert chat.texts() == before
    ask(chat, "anna.weber@example.com", "DHL")
    ask(chat, "THIS TOOK FOREVER, I'm so angry", "you're annoyed")
    # Out of scope or not understood: the model decides which; either way a person is offered.
    ask(chat, "what's the capital of Peru?", re.compile("beyond me|not sure I understood"))
    expect(chat.entries("bot").last.get_by_role("button", name="Talk to a person")).to_be_visible()
    ask(chat, "are you a robot?", "I'm an automated assistant, not a person")
    shot("shop-en")


def test_a_chinese_customer(page: Page, serve: Callable[..., Server], shot: Callable[[str], None]) -> None:
    chat = ChatPage(page, serve().url).visit("/demo/?lang=zh").open()
    ask(chat, "你好，我的快递到哪儿了？", "订单号")
    ask(chat, "A-9999", "订单 A-9999")
    ask(chat, "wang.fang@example.com", "对不上，没有查到")
    ask(chat, "运费多少钱？", "满 199 元包邮")
    ask(chat, "A-1003", "订单 A-1003")
    page.reload()
    chat.open()
    expect(chat.log).to_contain_text("订单 A-1003")
    ask(chat, "wang.fang@example.com", "顺丰")
    ask(chat, "等了这么久，气死我了！", "您生气完全可以理解")
    ask(chat, "你是机器人吗？", "我是自动客服，不是真人")
    shot("shop-zh")


def test_a_crash_of_the_server_in_the_middle(page: Page, serve: Callable[..., Server]) -> None:
    server = serve()
    chat = ChatPage(page, server.url).visit().open()
    ask(chat, "Where is my parcel?", "What is your order number?")
    server.kill()
    expect(chat.offline).to_contain_text("No connection", timeout=ANSWER_WITHIN_MS)
    chat.say("A-1001")
    server.start()
    expect(chat.entries("bot").last).to_contain_text("order A-1001", timeout=ANSWER_WITHIN_MS)
    expect(chat.offline).to_be_hidden()
    assert [text for text in chat.texts() if text == "A-1001"] == ["A-1001"]
