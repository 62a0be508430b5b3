"""axe-core finds nothing to complain about, in every state of the widget that a customer meets, in both languages."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from connectors.file_kinds import UnwantedFile
from connectors.memory import MemoryFiles, MemoryPorts
from tests.e2e.chat_page import ChatPage
from tests.e2e.conftest import ScriptedShop, ShopBot
from tests.e2e.test_accessibility import RICH
from tests.e2e.test_around import CSAT, HOURS, PRE_CHAT
from tests.e2e.test_uploads import Shelf, attach, pdf

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
LANGUAGES = pytest.mark.parametrize("language", ["en", "zh"])
MORE, END = {"en": "More", "zh": "更多"}, {"en": "End chat", "zh": "结束对话"}


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's source, from the wheel axe-playwright-python."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or not found.submodule_search_locations:
        reason = "no axe-core: pip install axe-playwright-python"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return (Path(next(iter(found.submodule_search_locations))) / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture
def violations(axe: str, page: Page) -> Callable[..., list[Any]]:
    """What axe finds on the page, or inside `root`."""

    def run(root: str = "kefu-chat") -> list[Any]:
        # A colour that is still fading in is measured as too pale. Chromium 156 no longer counts shadow trees in.
        page.evaluate(
            """() => {
              const trees = [document, ...[...document.querySelectorAll("*")].map((each) => each.shadowRoot)];
              const running = trees.flatMap((tree) => tree?.getAnimations() ?? []);
              const ending = running.filter((one) => one.effect.getComputedTiming().endTime !== Infinity);
              return Promise.all(ending.map((one) => one.finished.catch(() => null)));
            }"""
        )
        page.evaluate(f"{axe}\n;null")
        options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
        found = page.evaluate("([root, options]) => axe.run(root, options)", [root, options])
        assert len(found["passes"]) > 5, "axe did look"
        return [
            (one["id"], [(node["target"], node["failureSummary"]) for node in one["nodes"]])
            for one in found["violations"]
        ]

    return run


@pytest.fixture
def visit(page: Page, scripted: Callable[..., ScriptedShop], bot: ShopBot) -> Callable[..., ChatPage]:
    bot.answers["rich"] = RICH

    def start(language: str, *, files: MemoryFiles | None = None, **options: Any) -> ChatPage:
        ports = MemoryPorts(bot, files=files)
        return ChatPage(page, scripted(ports, **options).url).visit(f"/demo/?lang={language}")

    return start


def test_axe_would_find_something(violations: Callable[..., list[Any]], visit: Callable[..., ChatPage]) -> None:
    chat = visit("en").open()
    chat.panel.evaluate("panel => panel.querySelector('.kefu-send').removeAttribute('aria-label')")
    chat.panel.evaluate("panel => panel.querySelector('.kefu-send').removeAttribute('title')")
    assert [rule for rule, _ in violations()] == ["button-name"]


@LANGUAGES
def test_the_page_with_the_closed_chat(
    violations: Callable[..., list[Any]], visit: Callable[..., ChatPage], language: str
) -> None:
    visit(language)
    assert violations("html") == []


@LANGUAGES
def test_a_conversation_with_everything_in_it(
    violations: Callable[..., list[Any]], visit: Callable[..., ChatPage], language: str, page: Page
) -> None:
    page.clock.set_fixed_time("2026-11-28T10:00:00Z")
    chat = visit(language, brand={"hours": HOURS, "csat": CSAT}).open()
    chat.say("rich")
    chat.hears("label.pdf")
    assert violations() == []
    chat.panel.get_by_role("button", name=MORE[language]).click()
    assert violations() == []
    chat.panel.get_by_role("menuitem", name=END[language]).click()
    assert violations() == []


@LANGUAGES
def test_the_form_before_the_chat(
    violations: Callable[..., list[Any]], visit: Callable[..., ChatPage], language: str, page: Page
) -> None:
    chat = visit(language, brand={"pre_chat": PRE_CHAT})
    chat.launcher.click()
    assert violations() == []
    page.keyboard.press("Enter")
    expect(chat.panel.locator("[aria-invalid=true]")).to_have_count(1)
    assert violations() == []


@LANGUAGES
def test_a_connection_that_is_gone(
    violations: Callable[..., list[Any]], page: Page, shop: ScriptedShop, language: str
) -> None:
    chat = ChatPage(page, shop.url).visit(f"/demo/?lang={language}").open()
    chat.say("before")
    chat.hears("You said before")
    shop.stop()
    expect(chat.offline).to_be_visible()
    chat.say("during")
    expect(chat.panel.locator(".kefu-is-waiting")).to_have_count(1)
    assert violations() == []
    shop.start()


def test_files_on_their_way(violations: Callable[..., list[Any]], visit: Callable[..., ChatPage]) -> None:
    shelf = Shelf()
    shelf.refusals.append(UnwantedFile("This PDF is encrypted."))
    chat = visit("en", files=shelf).open()
    attach(chat, pdf("refused.pdf"))
    expect(chat.panel.locator(".kefu-is-refused")).to_have_count(1)
    attach(chat, pdf("taken.pdf"))
    expect(chat.panel.locator(".kefu-is-done")).to_have_count(1)
    assert violations() == []


@pytest.mark.parametrize(
    "colors",
    [
        {"primary": "#ffee55", "on_primary": "#ffffff", "background": "#ffffff", "text": "#222222"},
        {"primary": "#7fb4ff", "on_primary": "#0b1a2b", "background": "#10151c", "text": "#e8eef5"},
        {"primary": "#333333", "on_primary": "#444444", "background": "#222222", "text": "#333333"},
    ],
    ids=["light", "dark", "unreadable"],
)
def test_other_brands_colours(
    violations: Callable[..., list[Any]],
    visit: Callable[..., ChatPage],
    colors: dict[str, str],
    shot: Callable[[str], None],
    request: pytest.FixtureRequest,
) -> None:
    chat = visit("en", brand={"colors": colors, "csat": CSAT}).open()
    chat.say("rich")
    chat.hears("label.pdf")
    shot(f"theme-{request.node.callspec.id}")
    assert violations() == []
