"""What a keyboard, a screen reader and weak eyes need, checked in the browser's own accessibility tree and pixels."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot

NEEDS_A_NAME = {"button", "link", "textbox", "img", "image", "dialog", "log", "group", "article"}
RICH: list[dict[str, Any]] = [
    {
        "text": "Look at https://a.example",
        "buttons": [{"title": "Yes", "payload": "/y"}, {"title": "Open", "url": "https://a.example"}],
    },
    {"image": "/demo/lamp.svg"},
    {
        "custom": {
            "type": "carousel",
            "cards": [{"title": "A", "subtitle": "€1"}, {"title": "B", "image_url": "/demo/throw.svg"}],
        }
    },
    {"custom": {"type": "rating", "text": "How was it?"}},
    {"attachment": "https://a.example/label.pdf"},
]


@pytest.fixture
def chat(page: Page, shop: ScriptedShop, bot: ShopBot) -> ChatPage:
    """An open chat with one message of every kind in it."""
    bot.answers["rich"] = RICH
    chat = ChatPage(page, shop.url).visit().open()
    chat.say("rich")
    chat.hears("label.pdf")
    return chat


def accessibility_tree(page: Page) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    return [node for node in nodes if not node.get("ignored")]


def role(node: dict[str, Any]) -> str:
    return str(node.get("role", {}).get("value", ""))


def name(node: dict[str, Any]) -> str:
    return str(node.get("name", {}).get("value", "")).strip()


def test_everything_one_can_use_has_a_name(chat: ChatPage, page: Page) -> None:
    nodes = [node for node in accessibility_tree(page) if role(node) in NEEDS_A_NAME and role(node) != "article"]
    assert {"button", "link", "textbox", "dialog", "log", "image"} <= {role(node) for node in nodes}
    assert not [node for node in nodes if not name(node)]


def test_messages_say_who_speaks(chat: ChatPage) -> None:
    snapshot = chat.log.aria_snapshot()
    assert "You:" in snapshot
    assert "Lumi:" in snapshot


def test_new_messages_are_live_and_the_history_is_not(chat: ChatPage, page: Page) -> None:
    expect(chat.log).to_have_attribute("aria-live", "polite")
    expect(chat.log).to_have_attribute("aria-relevant", "additions")
    page.add_init_script(
        """addEventListener('DOMContentLoaded', () => { window.spoken = [];
        const watch = setInterval(() => {
            const log = document.querySelector('kefu-chat')?.shadowRoot?.querySelector('[role=log]');
            if (!log) return;
            clearInterval(watch);
            new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach((node) =>
                window.spoken.push([log.ariaLive, node.textContent.slice(0, 40)])
            ))).observe(log.querySelector('.kefu-confirmed'), { childList: true });
        }, 1); });"""
    )
    page.reload()
    chat.open()
    chat.hears("label.pdf")
    expect(chat.log).to_have_attribute("aria-live", "polite")
    assert {live for live, _ in page.evaluate("window.spoken")} == {"off"}
    chat.say("news")
    chat.hears("You said news")
    assert [live for live, text in page.evaluate("window.spoken") if "news" in text] == ["polite", "polite"]


CONTRASTS = """(root) => {
    const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const rgba = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (element) => {
        for (let e = element; e; e = e.parentElement) {
            const color = rgba(getComputedStyle(e).backgroundColor);
            if (color[3] === 255) return color;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    const walker = document.createTreeWalker(root.shadowRoot, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('.kefu-hidden')) continue;
        const both = [light(rgba(getComputedStyle(element).color)), light(behind(element))];
        const [dark, bright] = both.sort((a, b) => a - b);
        found.push([walker.currentNode.data.trim().slice(0, 40), (bright + 0.05) / (dark + 0.05)]);
    }
    return found;
}"""


def test_every_text_is_readable(chat: ChatPage, shop: ScriptedShop) -> None:
    shop.stop()
    expect(chat.offline).to_contain_text("No connection")
    chat.say("during")
    expect(chat.entries("own").last).to_contain_text("Not sent yet")
    found = chat.chat.evaluate(CONTRASTS)
    shop.start()
    assert len(found) > 20
    assert [text for text in found if text[1] < 4.5] == []


def test_a_brand_that_nobody_could_read_is_corrected(page: Page, shop: ScriptedShop) -> None:
    brand = {"primary": "#ffee55", "on_primary": "#ffffff", "background": "#222222", "text": "#333333"}
    contrasts = page.goto(f"{shop.url}/demo/") and page.evaluate(
        """async (colors) => {
            const { themeProperties, contrast } = await import('/widget/theme.js');
            const theme = Object.fromEntries(themeProperties({ ...colors, 'evil': '}*{color:red', text_2: '#000000' }));
            return [theme, contrast(theme['--kefu-on-primary'], theme['--kefu-primary']),
                contrast(theme['--kefu-text'], theme['--kefu-background'])];
        }""",
        brand,
    )
    theme, on_primary, text = contrasts
    names = ("primary", "on-primary", "background", "text", "accent", "bubble", "danger")
    assert set(theme) == {f"--kefu-{name}" for name in names}
    assert on_primary >= 4.5
    assert text >= 4.5
    assert theme["--kefu-primary"] == "#ffee55"


def test_reduced_motion_is_respected(page: Page, shop: ScriptedShop) -> None:
    page.emulate_media(reduced_motion="reduce")
    chat = ChatPage(page, shop.url).visit().open()
    assert chat.panel.evaluate("panel => getComputedStyle(panel).animationName") == "none"
    dot = chat.chat.locator(".kefu-typing i").first
    assert dot.evaluate("dot => getComputedStyle(dot).animationName") == "none"


def test_targets_are_large_enough(chat: ChatPage) -> None:
    # WCAG 2.2, 2.5.8: 24 by 24 CSS pixels.
    sizes = chat.chat.evaluate(
        """chat => [...chat.shadowRoot.querySelectorAll('button, .kefu-star')]
            .filter((one) => one.checkVisibility())
            .map((one) => [one.textContent, one.getBoundingClientRect()])
            .map(([text, box]) => [text, box.width, box.height])"""
    )
    assert len(sizes) > 8
    assert [size for size in sizes if min(size[1:]) < 24] == []


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_the_chat_fills_the_screen(page: Page, shop: ScriptedShop, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    chat = ChatPage(page, shop.url).visit("/demo/?lang=zh").open()
    chat.say("menu")
    chat.hears("What can I do for you?")
    # The panel rises into its place; a slow machine can measure it on the way.
    chat.panel.evaluate("panel => Promise.all(panel.getAnimations().map((one) => one.finished))")
    box = chat.panel.bounding_box()
    assert box == {"x": 0, "y": 0, "width": width, "height": 640}
    assert chat.panel.evaluate("panel => panel.scrollWidth <= panel.clientWidth")
