"""What a person does with the widget on a page, in the words of a person."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


class ChatPage:
    """The demo shop in one browser page."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.chat = page.locator("kefu-chat")
        self.launcher = self.chat.locator(".kefu-launcher")
        self.panel = self.chat.get_by_role("dialog")
        self.log = self.chat.get_by_role("log")
        self.input = self.chat.locator(".kefu-composer").get_by_role("textbox").first
        self.offline = self.chat.get_by_role("status")

    def visit(self, path: str = "/demo/?lang=en") -> ChatPage:
        self.page.goto(self.url + path)
        expect(self.launcher).to_be_visible()
        return self

    def open(self) -> ChatPage:
        self.launcher.click()
        expect(self.input).to_be_focused()
        return self

    def say(self, text: str) -> None:
        self.input.fill(text)
        self.input.press("Enter")

    def hears(self, text: str) -> None:
        expect(self.entries("bot").last).to_contain_text(text)

    def entries(self, side: str) -> Locator:
        """Messages of one side: own, bot, operator. The greeting is none."""
        return self.log.locator(f".kefu-confirmed .kefu-{side}, .kefu-waiting .kefu-{side}")

    def confirmed(self, side: str) -> Locator:
        """As `entries`, less what is still on its way."""
        return self.log.locator(f".kefu-confirmed .kefu-{side}")

    def texts(self) -> list[str]:
        return self.log.locator(".kefu-confirmed .kefu-bubble, .kefu-waiting .kefu-bubble").all_inner_texts()
