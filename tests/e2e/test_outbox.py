"""Nothing written is lost and nothing is sent twice: offline, through a reload, and with several tabs at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from connectors.base import InboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

UNSENT = """async () => {
    const database = await new Promise((resolve) => {
        const request = indexedDB.open(`kefu:${location.host}`, 1);
        request.onsuccess = () => resolve(request.result);
    });
    const items = await new Promise((resolve) => {
        const request = database.transaction('messages').objectStore('messages').getAll();
        request.onsuccess = () => resolve(request.result);
    });
    database.close();
    return items.map((item) => item.text);
}"""


class SlowPorts(MemoryPorts):
    """Counts every frame that asks to be stored, repeats too; takes its time."""

    def __init__(self, bot: ShopBot) -> None:
        super().__init__(bot)
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        self.asked += [message.text for message in batch]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.15)
        self.at_once -= 1
        return await super().receive(batch, state_changes)


@pytest.fixture
def ports(bot: ShopBot) -> SlowPorts:
    return SlowPorts(bot)


@pytest.fixture
def shop(scripted: Callable[..., ScriptedShop], ports: SlowPorts) -> ScriptedShop:
    return scripted(ports)


@pytest.fixture
def chat(page: Page, shop: ScriptedShop) -> ChatPage:
    return ChatPage(page, shop.url).visit().open()


@pytest.fixture
def other(chat: ChatPage, context: BrowserContext, shop: ScriptedShop) -> ChatPage:
    """A second tab of the same visitor."""
    chat.say("hello")
    chat.hears("You said hello")
    other = ChatPage(context.new_page(), shop.url).visit().open()
    other.hears("You said hello")
    return other


def test_what_is_unsent_is_in_the_browsers_database_and_leaves_it(
    chat: ChatPage, page: Page, shop: ScriptedShop
) -> None:
    chat.say("first")
    chat.hears("You said first")
    assert page.evaluate(UNSENT) == []
    shop.stop()
    expect(chat.offline).to_contain_text("No connection")
    chat.say("second")
    chat.say("third")
    expect(chat.entries("own").last).to_contain_text("Not sent yet")
    assert sorted(page.evaluate(UNSENT)) == ["second", "third"]
    shop.start()
    chat.hears("You said third")
    assert page.evaluate(UNSENT) == []


def test_a_reload_in_the_middle_sends_what_was_written_once(
    chat: ChatPage, page: Page, bot: ShopBot, ports: SlowPorts
) -> None:
    chat.say("before")
    chat.hears("You said before")
    for number in range(4):
        chat.say(f"message {number}")
    page.reload()
    chat.open()
    chat.hears("You said message 3")
    assert bot.texts == ["before", *(f"message {number}" for number in range(4))]
    assert page.evaluate(UNSENT) == []


def test_two_tabs_share_one_outbox_and_send_nothing_twice(
    chat: ChatPage, other: ChatPage, shop: ScriptedShop, ports: SlowPorts, bot: ShopBot
) -> None:
    shop.stop()
    for one in (chat, other):
        expect(one.offline).to_contain_text("No connection")
    for number in range(3):
        chat.say(f"here {number}")
        other.say(f"there {number}")
    # Each tab shows what the other one keeps.
    for one in (chat, other):
        expect(one.entries("own")).to_have_count(7)
    ports.asked.clear()
    shop.start()
    for one in (chat, other):
        expect(one.confirmed("own")).to_have_count(7)
        one.hears("You said there 2")
        expect(one.log.locator(".kefu-waiting > *")).to_have_count(0)
    expected = [f"{place} {number}" for number in range(3) for place in ("here", "there")]
    assert ports.asked == expected
    assert ports.most_at_once == 1
    assert bot.texts == ["hello", *expected]
    assert chat.texts() == other.texts()


def test_a_tab_that_is_closed_leaves_its_messages_to_the_other(
    chat: ChatPage, other: ChatPage, shop: ScriptedShop, bot: ShopBot
) -> None:
    shop.stop()
    expect(other.offline).to_contain_text("No connection")
    other.say("from the tab that goes")
    expect(chat.entries("own").last).to_contain_text("from the tab that goes")
    other.page.close()
    shop.start()
    chat.hears("You said from the tab that goes")
    assert bot.texts == ["hello", "from the tab that goes"]


def test_two_tabs_of_a_new_visitor_are_one_visitor(
    page: Page, context: BrowserContext, shop: ScriptedShop, bot: ShopBot
) -> None:
    one, two = (ChatPage(tab, shop.url).visit() for tab in (page, context.new_page()))
    # Both at the same moment, before either has a token.
    for tab in (one, two):
        tab.page.evaluate("setTimeout(() => Kefu.open(), Date.now() % 1000 < 500 ? 700 - (Date.now() % 1000) : 0)")
    for tab in (one, two):
        expect(tab.chat).to_have_attribute("data-state", "online")
    one.say("one")
    two.hears("You said one")
    assert len({message.sender_id for message in bot.received}) == 1


def test_a_refused_message_can_be_deleted_and_stays_deleted(chat: ChatPage, page: Page) -> None:
    page.evaluate("Kefu.send('x'.repeat(4001))")
    own = chat.entries("own").last
    expect(own).to_contain_text("Too long to send")
    page.reload()
    chat.open()
    expect(own).to_contain_text("Not sent")
    own.get_by_role("button", name="Delete").click()
    expect(chat.entries("own")).to_have_count(0)
    page.reload()
    chat.open()
    expect(chat.chat).to_have_attribute("data-state", "online")
    expect(chat.entries("own")).to_have_count(0)


def test_without_a_database_the_chat_still_keeps_what_is_written(page: Page, shop: ScriptedShop, bot: ShopBot) -> None:
    page.add_init_script("Object.defineProperty(window, 'indexedDB', { get() { throw new Error('forbidden'); } })")
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("before")
    chat.hears("You said before")
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    chat.say("kept")
    page.context.set_offline(False)
    page.reload()
    chat.open()
    chat.hears("You said kept")
    assert bot.texts == ["before", "kept"]


def test_a_database_that_goes_away_meanwhile_stops_nothing(chat: ChatPage, page: Page, bot: ShopBot) -> None:
    chat.say("before")
    chat.hears("You said before")
    gone = "IDBDatabase.prototype.transaction = () => { throw new DOMException('gone', 'InvalidStateError'); }"
    page.evaluate(f"() => {{ {gone}; }}")
    chat.say("one")
    chat.hears("You said one")
    chat.say("two")
    chat.hears("You said two")
    assert bot.texts == ["before", "one", "two"]
