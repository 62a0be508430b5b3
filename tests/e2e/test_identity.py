"""Customers whom the shop's own website names: kept apart on one computer, and where strict nobody else is served."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from playwright.sync_api import Page, expect

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

SECRET = "the secret that the shop's own website signs with"


def token(customer: str, **claims: Any) -> str:
    expires = datetime.now(UTC) + timedelta(minutes=5)
    return jwt.encode({"sub": customer, "email": f"{customer}@a.example", "exp": expires, **claims}, SECRET, "HS256")


@pytest.fixture
def strict(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> ChatPage:
    shop = scripted(MemoryPorts(bot), widget_secret=SECRET, is_strict=True)
    return ChatPage(page, shop.url).visit()


def identify(chat: ChatPage, identity: str | None) -> None:
    chat.page.evaluate("(identity) => Kefu.identify(identity)", identity)


def test_strict_asks_an_anonymous_visitor_to_sign_in(
    strict: ChatPage, page: Page, bot: ShopBot, shot: Callable[[str], None]
) -> None:
    page.evaluate("() => { window.codes = []; Kefu.on('error', ({ code }) => codes.push(code)); }")
    strict.launcher.click()
    expect(strict.offline).to_contain_text("Please sign in to chat with us.")
    expect(strict.chat).to_have_attribute("data-state", "anonymous")
    shot("strict")
    box = strict.input.bounding_box()
    assert box is not None
    assert box["height"] >= 40, "a field of its whole height, also where the server never answered"
    strict.say("written before")
    assert bot.texts == []
    assert page.evaluate("codes") == ["identity_required"]
    identify(strict, token("anna"))
    strict.hears("You said written before")
    expect(strict.offline).to_be_hidden()
    assert bot.received[0].metadata["identity"]["email"] == "anna@a.example"


def test_the_next_customer_at_this_computer_sees_nothing_of_the_one_before(
    strict: ChatPage, page: Page, bot: ShopBot
) -> None:
    identify(strict, token("anna"))
    strict.open().say("anna's secret")
    strict.hears("You said anna's secret")
    identify(strict, token("eve"))
    expect(strict.entries("own")).to_have_count(0)
    strict.say("eve's question")
    strict.hears("You said eve's question")
    assert strict.texts() == ["eve's question", "You said eve's question"]
    identify(strict, token("anna"))
    strict.hears("You said anna's secret")
    assert strict.texts() == ["anna's secret", "You said anna's secret"]
    assert len({message.sender_id for message in bot.received}) == 2


def test_what_one_customer_left_unsent_is_never_sent_as_another(strict: ChatPage, page: Page, bot: ShopBot) -> None:
    identify(strict, token("anna"))
    strict.open().say("first")
    strict.hears("You said first")
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    strict.say("anna, in a tunnel")
    page.evaluate("Kefu.destroy()")
    page.context.set_offline(False)
    strict.visit()
    identify(strict, token("eve"))
    strict.open().say("eve here")
    strict.hears("You said eve here")
    assert bot.texts == ["first", "eve here"]
    identify(strict, token("anna"))
    strict.hears("You said anna, in a tunnel")
    senders = {message.text: message.metadata["identity"]["email"] for message in bot.received}
    assert senders["anna, in a tunnel"] == "anna@a.example"


def test_a_token_that_ends_is_asked_for_again_and_nothing_is_lost(strict: ChatPage, page: Page, bot: ShopBot) -> None:
    page.evaluate(
        "(fresh) => { Kefu.on('error', ({ code }) => code === 'identity_required' && Kefu.identify(fresh)); }",
        token("anna"),
    )
    identify(strict, token("anna", exp=datetime.now(UTC) + timedelta(seconds=3)))
    strict.open().say("in time")
    strict.hears("You said in time")
    page.wait_for_timeout(3_100)  # a token's life is counted in whole seconds
    strict.say("after it")
    strict.hears("You said after it")
    assert bot.texts == ["in time", "after it"]


def test_what_a_customer_told_and_began_to_write_is_not_the_next_one_s(
    page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot
) -> None:
    chat = ChatPage(page, scripted(MemoryPorts(bot), widget_secret=SECRET).url).visit()
    page.evaluate("Kefu.setContext({ order: 'A-1001' })")  # before signing in: kept
    identify(chat, token("anna"))
    chat.open().say("first")
    chat.hears("You said first")
    assert bot.received[0].metadata["context"] == {"order": "A-1001"}
    chat.input.fill("half a secret")
    identify(chat, None)
    expect(chat.input).to_have_value("")
    page.evaluate("Kefu.setContext({ page: '/home' })")
    chat.say("somebody else")
    chat.hears("You said somebody else")
    assert bot.received[1].metadata["context"] == {"page": "/home"}


def test_a_message_that_is_too_large_is_refused_and_stops_no_other(
    page: Page, shop: ScriptedShop, bot: ShopBot
) -> None:
    chat = ChatPage(page, shop.url).visit().open()
    page.evaluate("Kefu.setContext({ blob: 'x'.repeat(70_000) })")
    chat.say("with far too much")
    expect(chat.entries("own").last.get_by_role("button", name="Delete")).to_be_visible()
    page.evaluate("Kefu.setContext({ blob: null })")
    chat.say("the next one")
    chat.hears("You said the next one")
    assert bot.texts == ["the next one"]


def test_signing_out_leaves_nothing_in_the_browser(
    page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot
) -> None:
    chat = ChatPage(page, scripted(MemoryPorts(bot), widget_secret=SECRET).url).visit()
    identify(chat, token("anna"))
    chat.open().say("my order")
    chat.hears("You said my order")
    assert bot.received[0].metadata["identity"]["email"] == "anna@a.example"
    identify(chat, None)
    expect(chat.entries("own")).to_have_count(0)
    chat.say("somebody else")
    chat.hears("You said somebody else")
    assert "identity" not in bot.received[1].metadata
    assert bot.received[0].sender_id != bot.received[1].sender_id
    page.reload()
    chat.open()
    chat.hears("You said somebody else")
    assert chat.texts() == ["somebody else", "You said somebody else"]
