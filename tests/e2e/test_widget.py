"""The widget in a real Chromium with a scripted shop: what a customer sees, types, presses and loses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from connectors.base import Author, InboundMessage, OutboundMessage, Receipt, StateChange
from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

Shot = Callable[[str], None]


@pytest.fixture
def chat(page: Page, shop: ScriptedShop) -> ChatPage:
    return ChatPage(page, shop.url).visit()


# ---- a conversation ----


def test_a_customer_types_and_is_answered(chat: ChatPage, bot: ShopBot, shot: Shot) -> None:
    chat.open()
    expect(chat.panel).to_have_accessible_name("Chat with Lantern & Loom")
    expect(chat.log).to_contain_text("Hello! I'm Lumi.")
    expect(chat.panel).to_contain_text("I'm an automated assistant.")
    chat.say("Where is my parcel?")
    chat.hears("You said Where is my parcel?")
    assert chat.texts() == ["Where is my parcel?", "You said Where is my parcel?"]
    expect(chat.input).to_have_value("")
    expect(chat.input).to_be_focused()
    assert bot.texts == ["Where is my parcel?"]
    shot("conversation")


def test_a_button_is_pressed_and_shown_by_its_title(chat: ChatPage, bot: ShopBot) -> None:
    chat.open().say("menu")
    chat.log.get_by_role("button", name="Where is my order?").click()
    chat.hears("What is your order number?")
    expect(chat.entries("own").last).to_contain_text("Where is my order?")
    assert bot.texts == ["menu", "/order_status"]


def test_a_message_that_comes_while_the_log_still_moves_is_followed(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers["long"] = [{"text": "\n".join(["a line"] * 60)}]
    chat.open().say("long")
    chat.hears("a line")
    # The list grows between a movement and the event that tells of it; then somebody really goes up.
    moves = """async (log) => {
      const pause = () => new Promise((done) => setTimeout(done, 100));
      const grow = () => {
        const more = Object.assign(document.createElement("p"), { style: "height: 300px" });
        log.querySelector(".kefu-confirmed").append(more);
      };
      const below = () => log.scrollHeight - log.scrollTop - log.clientHeight;
      log.scrollTop -= 40;
      await pause();
      log.scrollTop = log.scrollHeight;
      grow();
      await pause();
      const followed = below();
      log.scrollTop -= 200;
      await pause();
      grow();
      await pause();
      return [followed, below()];
    }"""
    followed, left_alone = chat.log.evaluate(moves)
    assert followed < 2
    assert left_alone > 400


def test_quick_replies_go_once_one_is_used(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers["quick"] = [
        {"text": "Really?", "quick_replies": [{"title": "Yes", "payload": "/affirm"}, {"title": "No"}]}
    ]
    chat.open().say("quick")
    chat.log.get_by_role("button", name="Yes").click()
    chat.hears("You said /affirm")
    expect(chat.log.get_by_role("button", name="No")).to_have_count(0)


def test_rich_messages(chat: ChatPage, bot: ShopBot, shot: Shot) -> None:
    card = {"title": "Paper lantern", "subtitle": "€49.00", "image_url": "/demo/lantern.svg"}
    other = {
        "title": "Wool throw",
        "subtitle": "€74.50",
        "image_url": "/demo/throw.svg",
        "buttons": [{"title": "Order it", "payload": "/o"}],
    }
    bot.answers["show me"] = [
        {"text": "See https://a.example/lamps?x=1. Or write to service@a.example!"},
        {"image": "/demo/lamp.svg"},
        {"custom": {"type": "carousel", "cards": [card, other]}},
        {"attachment": "https://a.example/label.pdf"},
        {"custom": {"type": "rating", "text": "How was it?", "max": 5}},
    ]
    chat.open().say("show me")
    expect(chat.log.get_by_role("link", name="https://a.example/lamps?x=1", exact=True)).to_have_attribute(
        "href", "https://a.example/lamps?x=1"
    )
    mail = chat.log.get_by_role("link", name="service@a.example")
    expect(mail).to_have_attribute("href", "mailto:service@a.example")
    expect(mail).to_have_attribute("rel", "noopener noreferrer nofollow")
    picture = chat.log.get_by_role("img", name="Picture")
    expect(picture).to_have_attribute("loading", "lazy")
    expect(chat.log.get_by_role("img", name="Paper lantern")).to_be_visible()
    expect(chat.log.get_by_role("link", name="Download label.pdf")).to_be_visible()
    shot("rich")
    chat.log.get_by_role("radio", name="4 of 5").check()
    chat.log.get_by_role("button", name="Send rating").click()
    chat.hears("You said 4")
    expect(chat.entries("own").last).to_contain_text("4 of 5")
    expect(chat.log.get_by_role("radio")).to_have_count(0)
    assert picture.evaluate("image => image.naturalWidth") > 0


def test_a_person_is_always_in_reach(chat: ChatPage, bot: ShopBot) -> None:
    chat.open().panel.get_by_role("button", name="Talk to a person").click()
    chat.hears("a person will write to you")
    assert bot.texts == ["/human_handoff"]


def test_when_a_person_answers_is_told_before_asking(chat: ChatPage) -> None:
    person = chat.open().panel.get_by_role("button", name="Talk to a person")
    expect(person).to_have_accessible_description("A person answers within one working day")
    chat.panel.get_by_role("button", name="切换到中文").click()
    person = chat.panel.get_by_role("button", name="转人工客服")
    expect(person).to_have_accessible_description("人工客服回复时间：一个工作日内")


class SystemPorts(MemoryPorts):
    """Everything that is answered is answered by one author."""

    author: Author = "system"

    async def transcript(self, sender_id: str, after_seq: int, limit: int = 200) -> list[OutboundMessage]:
        entries = await super().transcript(sender_id, after_seq, limit)
        return [entry if entry.author == "customer" else replace(entry, author=self.author) for entry in entries]


class OperatorPorts(SystemPorts):
    author = "operator"


@pytest.mark.parametrize(
    ("ports", "side", "name"), [(SystemPorts, "bot", "Lumi: "), (OperatorPorts, "operator", "Our team: ")]
)
def test_only_an_operator_speaks_as_the_team(
    page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot, ports: type[MemoryPorts], side: str, name: str
) -> None:
    chat = ChatPage(page, scripted(ports(bot)).url).visit().open()
    chat.say("hello")
    entry = chat.entries(side).last
    expect(entry).to_contain_text("You said hello")
    expect(entry.locator(".kefu-hidden")).to_have_text(name)


def test_typing_is_shown_until_the_answer_comes(page: Page, scripted: Callable[..., ScriptedShop], shot: Shot) -> None:
    ports = MemoryPorts()
    shop = scripted(ports)
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("hello")
    expect(chat.entries("own").last).to_contain_text("Sent")
    dots = chat.chat.locator(".kefu-typing")
    expect(dots).to_be_hidden()
    shop.call(ports.typing, ports.waiting[1].sender_id)
    expect(dots).to_be_visible()
    shot("typing")
    shop.call(ports.reply, 1, [{"text": "Here I am"}])
    chat.hears("Here I am")
    expect(dots).to_be_hidden()


def test_unread_messages_are_counted_while_the_chat_is_closed(
    page: Page, scripted: Callable[..., ScriptedShop], shot: Shot
) -> None:
    ports = MemoryPorts()
    shop = scripted(ports)
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("hello")
    expect(chat.entries("own").last).to_contain_text("Sent")
    page.keyboard.press("Escape")
    shop.call(ports.reply, 1, [{"text": "One"}, {"text": "Two"}])
    expect(chat.launcher).to_have_accessible_name("Open chat, 2 unread messages")
    shot("unread")
    page.reload()
    expect(chat.launcher).to_have_accessible_name("Open chat, 2 unread messages")
    chat.open()
    page.keyboard.press("Escape")
    expect(chat.launcher).to_have_accessible_name("Open chat")


# ---- nothing is lost ----


def test_the_history_is_there_after_a_reload(chat: ChatPage, bot: ShopBot, page: Page) -> None:
    chat.open().say("one")
    chat.hears("You said one")
    chat.say("menu")
    chat.hears("What can I do for you?")
    before = chat.texts()
    page.reload()
    chat.open()
    chat.hears("What can I do for you?")
    assert chat.texts() == before
    chat.log.get_by_role("button", name="Where is my order?").click()
    chat.hears("What is your order number?")
    assert bot.texts == ["one", "menu", "/order_status"]


def test_a_message_written_while_the_server_is_away_arrives_once(
    chat: ChatPage, shop: ScriptedShop, bot: ShopBot, shot: Shot
) -> None:
    chat.open().say("before")
    chat.hears("You said before")
    shop.stop()
    expect(chat.offline).to_contain_text("No connection")
    chat.say("during")
    chat.say("and this")
    expect(chat.entries("own").last).to_contain_text("Not sent yet")
    shot("offline")
    shop.start()
    chat.hears("You said and this")
    expect(chat.offline).to_be_hidden()
    expect(chat.entries("own")).to_have_count(3)
    assert chat.texts() == ["before", "You said before", "during", "You said during", "and this", "You said and this"]
    assert bot.texts == ["before", "during", "and this"]


def test_the_outbox_survives_a_reload(chat: ChatPage, shop: ScriptedShop, bot: ShopBot, page: Page) -> None:
    # The page comes back from elsewhere; only the socket is gone.
    chat.open().say("before")
    chat.hears("You said before")
    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    chat.say("kept")
    assert bot.texts == ["before"]
    page.context.set_offline(False)
    page.reload()
    chat.open()
    chat.hears("You said kept")
    assert bot.texts == ["before", "kept"]


class StuckPorts(MemoryPorts):
    """Takes the message and says nothing, until the gate opens."""

    def __init__(self, bot: ShopBot) -> None:
        super().__init__(bot)
        self.gate = asyncio.Event()

    async def receive(
        self, batch: Sequence[InboundMessage], state_changes: Sequence[StateChange] = ()
    ) -> list[Receipt]:
        await self.gate.wait()
        return await super().receive(batch, state_changes)


def test_a_message_that_hangs_can_be_retried_and_arrives_once(
    page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot, shot: Shot
) -> None:
    ports = StuckPorts(bot)
    shop = scripted(ports)
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("hello")
    own = chat.entries("own").last
    expect(own).to_contain_text("Sending…")
    expect(own).to_contain_text("Not sent yet")
    shot("not-sent")
    own.get_by_role("button", name="Retry").click()
    shop.call(ports.gate.set)
    chat.hears("You said hello")
    expect(chat.entries("own")).to_have_count(1)
    assert bot.texts == ["hello"]


def test_a_message_that_is_refused_says_why(chat: ChatPage, bot: ShopBot, page: Page) -> None:
    chat.open()
    page.evaluate("window.Kefu.send('x'.repeat(4001))")
    expect(chat.entries("own").last).to_contain_text("Too long to send")
    chat.say("shorter")
    chat.hears("You said shorter")
    assert bot.texts == ["shorter"]


def test_the_composer_stops_at_the_limit(chat: ChatPage) -> None:
    chat.open().input.fill("灯" * 4_003)
    expect(chat.panel).to_contain_text("3 characters too many")
    expect(chat.panel.get_by_role("button", name="Send", exact=True)).to_be_disabled()
    chat.input.fill("灯" * 3_990)
    expect(chat.panel).to_contain_text("10 characters left")


def test_two_tabs_of_one_customer_show_the_same(
    chat: ChatPage, bot: ShopBot, context: BrowserContext, shop: ScriptedShop
) -> None:
    chat.open().say("one")
    chat.hears("You said one")
    other = ChatPage(context.new_page(), shop.url).visit().open()
    other.hears("You said one")
    other.say("two")
    chat.hears("You said two")
    assert chat.texts() == other.texts() == ["one", "You said one", "two", "You said two"]
    assert bot.texts == ["one", "two"]


def test_another_customer_sees_nothing_of_it(chat: ChatPage, shop: ScriptedShop, page: Page) -> None:
    chat.open().say("my secret")
    chat.hears("You said my secret")
    stranger = page.context.browser.new_context()  # type: ignore[union-attr]
    other = ChatPage(stranger.new_page(), shop.url).visit().open()
    other.say("hello")
    other.hears("You said hello")
    assert other.texts() == ["hello", "You said hello"]
    stranger.close()


# ---- nothing is believed ----

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"


def test_markup_is_shown_as_text(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers[HOSTILE] = [
        {"text": HOSTILE, "buttons": [{"title": HOSTILE, "payload": "/x"}]},
        {"custom": {"type": "card", "title": HOSTILE, "subtitle": HOSTILE, "image": "/missing.png"}},
    ]
    chat.open().say(HOSTILE)
    chat.hears("onerror")
    assert chat.texts() == [HOSTILE, HOSTILE]
    expect(chat.log.get_by_role("button", name=HOSTILE)).to_be_visible()
    assert chat.log.evaluate("log => log.querySelectorAll('script, img[onerror]').length") == 0


def test_dangerous_links_are_not_links(chat: ChatPage, bot: ShopBot) -> None:
    bot.answers["links"] = [
        {
            "text": "javascript:alert(1) data:text/html,x and https://fine.example",
            "buttons": [{"title": "Bad", "url": "javascript:alert(1)"}],
        }
    ]
    chat.open().say("links")
    chat.hears("https://fine.example")
    assert [link.get_attribute("href") for link in chat.log.get_by_role("link").all()] == ["https://fine.example/"]


# ---- keyboard, input methods, languages ----


def test_escape_closes_and_gives_the_focus_back(chat: ChatPage, page: Page) -> None:
    chat.open()
    page.keyboard.press("Escape")
    expect(chat.panel).to_be_hidden()
    expect(chat.launcher).to_be_focused()
    opener = page.get_by_role("button", name="Ask us anything")
    opener.focus()
    page.keyboard.press("Enter")
    expect(chat.input).to_be_focused()
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()


FOCUSED_NAME = """(() => {
    const focused = document.activeElement.shadowRoot.activeElement;
    return focused.getAttribute('aria-label') ?? focused.textContent;
})()"""


def test_the_focus_stays_inside_while_the_chat_is_open(chat: ChatPage, page: Page) -> None:
    chat.open().say("menu")
    chat.hears("What can I do for you?")
    inside = "document.activeElement.shadowRoot?.activeElement?.closest('.kefu-panel') !== null"
    seen = set()
    for key in ["Tab"] * 12 + ["Shift+Tab"] * 12:
        page.keyboard.press(key)
        assert page.evaluate(inside)
        seen.add(page.evaluate(FOCUSED_NAME))
    assert {"Close chat", "Talk to a person", "Where is my order?", "Your message", "切换到中文"} <= seen


def test_what_has_the_focus_is_visible(chat: ChatPage, page: Page) -> None:
    chat.open()
    for _ in range(6):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement.shadowRoot.activeElement).outline")
        assert "solid" in outline
        assert "0px" not in outline


def test_shift_enter_begins_a_line(chat: ChatPage, bot: ShopBot, page: Page) -> None:
    chat.open()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    chat.hears("You said one\ntwo")
    assert bot.texts == ["one\ntwo"]


def test_enter_ends_a_composition_and_does_not_send(chat: ChatPage, bot: ShopBot, page: Page) -> None:
    chat.open()
    keyboard = page.context.new_cdp_session(page)
    keyboard.send("Input.imeSetComposition", {"text": "nihao", "selectionStart": 5, "selectionEnd": 5})
    page.keyboard.press("Enter")
    assert bot.texts == []
    assert "nihao" in chat.input.input_value()
    keyboard.send("Input.imeSetComposition", {"text": "", "selectionStart": 0, "selectionEnd": 0})
    chat.input.fill("")
    keyboard.send("Input.insertText", {"text": "你好"})
    page.keyboard.press("Enter")
    chat.hears("You said 你好")
    assert bot.texts == ["你好"]


def test_the_chinese_widget(page: Page, shop: ScriptedShop, bot: ShopBot, shot: Shot) -> None:
    chat = ChatPage(page, shop.url).visit("/demo/?lang=zh")
    expect(chat.launcher).to_have_accessible_name("打开在线客服")
    chat.open()
    expect(chat.panel).to_have_accessible_name("与灯与织聊天")
    expect(chat.log).to_contain_text("您好，我是小灯。")
    chat.panel.get_by_role("button", name="转人工客服").click()
    chat.hears("a person will write to you")
    assert [message.language_hint for message in bot.received] == ["zh"]
    chat.say("我的快递到哪儿了？")
    chat.hears("You said 我的快递到哪儿了？")
    shot("chinese")


def test_the_language_can_be_switched_and_is_remembered(chat: ChatPage, bot: ShopBot, page: Page) -> None:
    chat.open().say("hello")
    chat.hears("You said hello")
    chat.panel.get_by_role("button", name="切换到中文").click()
    expect(chat.panel).to_have_accessible_name("与灯与织聊天")
    expect(chat.log).to_contain_text("您好，我是小灯。")
    assert chat.texts() == ["hello", "You said hello"]
    page.reload()
    expect(chat.launcher).to_have_accessible_name("打开在线客服")
    chat.open().panel.get_by_role("button", name="转人工客服").click()
    chat.hears("a person")
    assert [message.language_hint for message in bot.received] == ["en", "zh"]


def test_days_are_named_and_renamed_at_midnight(page: Page, shop: ScriptedShop) -> None:
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("hello")
    chat.hears("You said hello")
    day = chat.log.locator(".kefu-day")
    expect(day).to_have_text("Today")
    page.clock.install()
    page.reload()
    chat.open()
    expect(day).to_have_text("Today")
    page.clock.run_for(1)
    page.clock.fast_forward("24:00:01")
    expect(day).to_have_text("Yesterday")
