"""Tasks that a customer does with the keyboard alone, and what a screen reader finds: in English and in Chinese."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from connectors.memory import MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot
from tests.e2e.test_around import CSAT, PRE_CHAT

MOST_TABS = 30
FOCUSED = """() => {
    let focused = document.activeElement;
    while (focused.shadowRoot?.activeElement) focused = focused.shadowRoot.activeElement;
    const label = focused.id && focused.getRootNode().querySelector(`label[for="${focused.id}"]`);
    return (focused.getAttribute('aria-label') ?? label?.textContent ?? focused.textContent).trim();
}"""
WORDS = {
    "en": {
        "open": "Open chat",
        "message": "Your message",
        "other": "切换到中文",
        "person": "Talk to a person",
        "cards": "2 suggestions; use the arrow keys",
        "stars": "1 of 5",
        "name": "Your name (optional)",
        "more": "More",
    },
    "zh": {
        "open": "打开在线客服",
        "message": "您的消息",
        "other": "Switch to English",
        "person": "转人工客服",
        "cards": "2 个推荐，可用方向键浏览",
        "stars": "1 分，满分 5 分",
        "name": "您的称呼 （选填）",
        "more": "更多",
    },
}


@dataclass
class Keys:
    """A customer without a mouse."""

    page: Page
    words: dict[str, str]

    def tab_to(self, word: str) -> None:
        """Press Tab until that has the focus; fails when it cannot be reached."""
        name = self.words.get(word, word)
        passed = [self.page.evaluate(FOCUSED)]
        while passed[-1] != name and len(passed) < MOST_TABS:
            self.page.keyboard.press("Tab")
            passed.append(self.page.evaluate(FOCUSED))
        assert passed[-1] == name, passed

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.press("Enter")


@pytest.fixture(params=["en", "zh"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def keys(page: Page, language: str) -> Keys:
    return Keys(page, WORDS[language])


@pytest.fixture
def visit(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot, language: str) -> Callable[..., ChatPage]:
    def start(**brand: Any) -> ChatPage:
        return ChatPage(page, scripted(MemoryPorts(bot), brand=brand).url).visit(f"/demo/?lang={language}")

    return start


def test_open_ask_read_close(visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot) -> None:
    chat = visit()
    keys.tab_to("open")
    keys.press("Enter")
    expect(chat.input).to_be_focused()
    keys.type("hello")
    chat.hears("You said hello")
    for _ in ("attach a file", "the conversation"):
        keys.press("Shift+Tab")
    # The conversation itself can be scrolled with the keys.
    expect(chat.log).to_be_focused()
    keys.press("Escape")
    expect(chat.panel).to_be_hidden()
    expect(chat.launcher).to_be_focused()
    assert bot.texts == ["hello"]


def test_choose_an_answer_that_the_bot_offers(visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot) -> None:
    chat = visit()
    keys.tab_to("open")
    keys.press("Space")
    keys.type("menu")
    chat.hears("What can I do for you?")
    keys.tab_to("Where is my order?")
    keys.press("Enter")
    chat.hears("What is your order number?")
    expect(chat.input).to_be_focused()
    assert bot.texts == ["menu", "/order_status"]


def test_look_through_the_cards_and_order(visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot) -> None:
    cards = [{"title": "Lantern"}, {"title": "Throw", "buttons": [{"title": "Order it", "payload": "/order"}]}]
    bot.answers["lamps"] = [{"custom": {"type": "carousel", "cards": cards}}]
    chat = visit()
    keys.tab_to("open")
    keys.press("Enter")
    keys.type("lamps")
    expect(chat.log.get_by_role("article")).to_have_count(2)
    keys.tab_to("cards")
    keys.press("ArrowRight", "Home", "End")
    keys.tab_to("Order it")
    keys.press("Enter")
    chat.hears("You said /order")


def test_fill_in_the_form_and_talk_to_a_person(
    visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot, language: str
) -> None:
    chat = visit(pre_chat=PRE_CHAT)
    keys.tab_to("open")
    keys.press("Enter")
    keys.tab_to("name")
    keys.page.keyboard.type("Anna")
    keys.press("Tab")
    keys.type("anna@a.example")
    expect(chat.input).to_be_focused()
    keys.tab_to("person")
    keys.press("Enter")
    chat.hears("a person will write to you")
    [message] = bot.received
    assert message.metadata["context"] == {"name": "Anna", "email": "anna@a.example"}
    assert message.language_hint == language


def test_end_the_chat_with_a_rating(visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot) -> None:
    chat = visit(csat=CSAT)
    keys.tab_to("open")
    keys.press("Enter")
    keys.type("hello")
    chat.hears("You said hello")
    keys.tab_to("more")
    keys.press("Enter", "End", "Enter")
    keys.tab_to("stars")
    keys.press("ArrowRight", "ArrowRight", "Enter")
    expect(chat.panel).to_be_hidden()
    keys.press("Enter")
    chat.hears("You said /rate_chat")
    assert bot.texts[-1] == '/rate_chat{"rating":"3"}'


def test_change_the_language(visit: Callable[..., ChatPage], keys: Keys, language: str) -> None:
    chat = visit()
    keys.tab_to("open")
    keys.press("Enter")
    keys.tab_to("other")
    keys.press("Enter")
    other = {"en": "zh", "zh": "en"}[language]
    assert keys.page.evaluate(FOCUSED) == WORDS[other]["other"]
    keys.words = WORDS[other]
    keys.tab_to("message")
    expect(chat.input).to_be_focused()


# ---- what a screen reader finds ----

# A change here is a change of what a screen reader says: read it aloud before you accept it.
SNAPSHOTS = {
    "en": """
- dialog "Chat with Lantern & Loom":
  - heading "Lantern & Loom" [level=2]
  - paragraph: Lumi · Automated assistant
  - button "切换到中文": 中文
  - button "More"
  - button "Close chat"
  - paragraph: I'm an automated assistant.
  - button "Talk to a person"
  - log "Conversation":
    - text: "Lumi: Hello! I'm Lumi. How can I help?"
    - paragraph: Today
    - text: "You: rich"
    - paragraph:
      - time: /\\d+:\\d+/
    - text: "Lumi: Sure?"
    - group "Choices":
      - button "Yes"
    - text: "Lumi:"
    - group "2 suggestions; use the arrow keys":
      - article "Lantern":
        - paragraph: Lantern
        - paragraph: €49.00
      - article "Throw":
        - paragraph: Throw
    - button "Previous" [disabled]
    - button "Next"
    - text: "Lumi:"
    - radiogroup "Rating":
      - radio "1 of 3"
      - radio "2 of 3"
      - radio "3 of 3"
    - button "Send rating" [disabled]
    - text: "Lumi:"
    - link "Download label.pdf":
      - /url: https://a.example/label.pdf
      - text: label.pdf PDF
    - paragraph:
      - time: /\\d+:\\d+/
  - textbox "Your message":
    - /placeholder: Write a message…
  - button "Send" [disabled]
  - alert
""",
    "zh": """
- dialog "与灯与织聊天":
  - heading "灯与织" [level=2]
  - paragraph: 小灯 · 自动客服
  - button "Switch to English": EN
  - button "更多"
  - button "关闭聊天"
  - paragraph: 我是自动客服。
  - button "转人工客服"
  - log "聊天记录":
    - text: "小灯： 您好，我是小灯。有什么可以帮您？"
    - paragraph: 今天
    - text: "您： rich"
    - paragraph:
      - time: /\\d+:\\d+/
    - text: "小灯： Sure?"
    - group "可选项":
      - button "Yes"
    - text: "小灯："
    - group "2 个推荐，可用方向键浏览":
      - article "Lantern":
        - paragraph: Lantern
        - paragraph: €49.00
      - article "Throw":
        - paragraph: Throw
    - button "上一个" [disabled]
    - button "下一个"
    - text: "小灯："
    - radiogroup "评分":
      - radio "1 分，满分 3 分"
      - radio "2 分，满分 3 分"
      - radio "3 分，满分 3 分"
    - button "提交评分" [disabled]
    - text: "小灯："
    - link "下载 label.pdf":
      - /url: https://a.example/label.pdf
      - text: label.pdf PDF
    - paragraph:
      - time: /\\d+:\\d+/
  - textbox "您的消息":
    - /placeholder: 请输入您的问题…
  - button "发送" [disabled]
  - alert
""",
}


def test_the_accessibility_tree(visit: Callable[..., ChatPage], keys: Keys, bot: ShopBot, language: str) -> None:
    bot.answers["rich"] = [
        {"text": "Sure?", "buttons": [{"title": "Yes", "payload": "/y"}]},
        {
            "custom": {
                "type": "carousel",
                "cards": [{"title": "Lantern", "subtitle": "€49.00"}, {"title": "Throw"}],
            }
        },
        {"custom": {"type": "rating", "max": 3}},
        {"attachment": "https://a.example/label.pdf"},
    ]
    chat = visit().open()
    chat.say("rich")
    chat.hears("label.pdf")
    expect(chat.panel).to_match_aria_snapshot(SNAPSHOTS[language])
