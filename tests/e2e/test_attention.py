"""What tells a customer who looks elsewhere that an answer came: the launcher, the page's title, a sound."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop

Shot = Callable[[str], None]
TITLE = "Lantern & Loom · 灯与织"
COUNT_TONES = """window.tones = 0;
const start = OscillatorNode.prototype.start;
OscillatorNode.prototype.start = function (...args) { window.tones += 1; return start.apply(this, args); };"""


class Answering:
    """A customer who asked something, and answers that come when the test says so."""

    def __init__(self, chat: ChatPage, shop: ScriptedShop, ports: MemoryPorts) -> None:
        self.chat, self._shop, self._ports = chat, shop, ports

    def ask(self) -> None:
        self.chat.say("hello")
        expect(self.chat.entries("own").last).to_contain_text("Sent")
        expect(self.chat.entries("own").last).to_have_attribute("data-seq", re.compile(r"\d+"))

    def answer(self, *texts: str) -> None:
        inbound_id = max(self._ports.waiting)
        self._shop.call(self._ports.reply, inbound_id, [{"text": text} for text in texts])


@pytest.fixture
def talk(page: Page, scripted: Callable[..., ScriptedShop]) -> Answering:
    page.add_init_script(COUNT_TONES)
    ports = MemoryPorts()
    shop = scripted(ports)
    return Answering(ChatPage(page, shop.url).visit().open(), shop, ports)


def test_unread_messages_are_counted_in_the_title_until_they_are_read(talk: Answering, page: Page) -> None:
    page.evaluate("() => { window.counts = []; Kefu.on('unread', ({ count }) => counts.push(count)); }")
    talk.ask()
    page.keyboard.press("Escape")
    talk.answer("One", "Two")
    expect(page).to_have_title(f"(2) {TITLE}")
    expect(talk.chat.launcher).to_have_accessible_name("Open chat, 2 unread messages")
    talk.chat.open()
    expect(page).to_have_title(TITLE)
    assert page.evaluate("counts") == [1, 2, 0]


def test_a_page_may_change_its_title_meanwhile(talk: Answering, page: Page) -> None:
    talk.ask()
    page.keyboard.press("Escape")
    talk.answer("One")
    expect(page).to_have_title(f"(1) {TITLE}")
    page.evaluate("document.title = 'Another page'")
    talk.chat.open()
    expect(page).to_have_title("Another page")


def test_what_is_read_in_one_tab_is_read_in_all(talk: Answering, page: Page, context: BrowserContext) -> None:
    talk.ask()
    page.keyboard.press("Escape")
    other = ChatPage(context.new_page(), talk.chat.url).visit()
    expect(other.chat).to_have_attribute("data-state", "online")
    talk.answer("One")
    for chat in (talk.chat, other):
        expect(chat.launcher).to_have_accessible_name("Open chat, 1 unread message")
    other.open()
    expect(talk.chat.launcher).to_have_accessible_name("Open chat")
    expect(page).to_have_title(TITLE)


def test_an_answer_is_heard_when_nobody_looks(talk: Answering, page: Page) -> None:
    talk.ask()
    talk.answer("seen at once")
    talk.chat.hears("seen at once")
    assert page.evaluate("tones") == 0
    talk.ask()
    page.keyboard.press("Escape")
    talk.answer("heard")
    expect(page).to_have_title(f"(1) {TITLE}")
    assert page.evaluate("tones") == 2


def test_nothing_sounds_before_the_customer_did_something(talk: Answering, page: Page) -> None:
    talk.ask()
    page.keyboard.press("Escape")
    page.reload()
    expect(talk.chat.chat).to_have_attribute("data-state", "online")
    talk.answer("quiet")
    expect(page).to_have_title(f"(1) {TITLE}")
    assert page.evaluate("tones") == 0


def test_the_sound_can_be_switched_off_and_stays_off(talk: Answering, page: Page, shot: Shot) -> None:
    talk.ask()
    talk.chat.panel.get_by_role("button", name="More").click()
    sound = talk.chat.panel.get_by_role("menuitemcheckbox", name="Sound for new messages")
    expect(sound).to_be_checked()
    shot("menu")
    sound.click()
    page.keyboard.press("Escape")
    talk.answer("quiet")
    expect(page).to_have_title(f"(1) {TITLE}")
    page.reload()
    talk.chat.open()
    talk.chat.panel.get_by_role("button", name="More").click()
    expect(sound).not_to_be_checked()
    assert page.evaluate("tones") == 0
    sound.click()
    assert page.evaluate("tones") == 2, "switched on, it shows what it is"


def test_the_menu_is_worked_with_arrow_keys(talk: Answering, page: Page) -> None:
    talk.ask()
    more = talk.chat.panel.get_by_role("button", name="More")
    more.focus()
    page.keyboard.press("ArrowDown")
    expect(more).to_have_attribute("aria-expanded", "true")
    expect(talk.chat.panel.get_by_role("menuitemcheckbox", name="Sound")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(talk.chat.panel.get_by_role("menuitem", name="Save conversation")).to_be_focused()
    page.keyboard.press("End")
    expect(talk.chat.panel.get_by_role("menuitem", name="Print conversation")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(talk.chat.panel.get_by_role("menuitemcheckbox", name="Sound")).to_be_focused()
    page.keyboard.press("Escape")
    expect(more).to_be_focused()
    expect(talk.chat.panel).to_be_visible()
