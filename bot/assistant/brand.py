"""How the company speaks and looks (`brand.yml`): names, greeting, disclosure, colours.

Invariant: every text exists in English and Chinese; what the file leaves out comes from the defaults below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bot.assistant.source import Node, Problems

Texts = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Brand:
    name: Texts
    assistant_name: Texts
    greeting: Texts
    disclosure_text: Texts
    disclosure_enabled: bool
    colors: Mapping[str, str]
    reply_within: Texts
    avatar: str | None = None

    def disclosure(self, language: str | None) -> str:
        return self.disclosure_text.get(language or "en") or self.disclosure_text["en"]


DEFAULT_BRAND = Brand(
    name={"en": "Our shop", "zh": "本店"},
    assistant_name={"en": "Assistant", "zh": "客服助手"},
    greeting={"en": "Hello! How can I help you?", "zh": "您好，请问有什么可以帮您？"},
    disclosure_text={
        "en": "I am an automated assistant. You can ask for a person at any time.",
        "zh": "我是自动客服助手，您随时可以要求转接人工。",
    },
    disclosure_enabled=True,
    colors={"primary": "#1f4e79", "on_primary": "#ffffff", "background": "#ffffff", "text": "#1b1b1b"},
    reply_within={"en": "within one working day", "zh": "一个工作日内"},
)

_KEYS = frozenset({"name", "assistant_name", "greeting", "disclosure", "colors", "hand_off", "avatar"})


def read_brand(root: Node | None, problems: Problems) -> Brand:
    """The brand of `brand.yml`; the defaults where there is no such file."""
    default = DEFAULT_BRAND
    if root is None or not root.expect_map(problems):
        return default
    root.warn_unknown_keys(_KEYS, problems)
    disclosure, hand_off = root.get("disclosure"), root.get("hand_off")
    enabled = disclosure.get("enabled") if disclosure else None
    colors, avatar = root.get("colors"), root.get("avatar")
    chosen = {name: value for name, node in colors.items() if (value := node.text(problems))} if colors else {}
    return Brand(
        name=_read_texts(root.get("name"), default.name, problems),
        assistant_name=_read_texts(root.get("assistant_name"), default.assistant_name, problems),
        greeting=_read_texts(root.get("greeting"), default.greeting, problems),
        disclosure_text=_read_texts(disclosure.get("text") if disclosure else None, default.disclosure_text, problems),
        disclosure_enabled=not enabled or enabled.flag(problems) is not False,
        colors={**default.colors, **chosen},
        reply_within=_read_texts(hand_off.get("reply_within") if hand_off else None, default.reply_within, problems),
        avatar=avatar.text(problems) if avatar and not avatar.is_null else None,
    )


def _read_texts(node: Node | None, default: Texts, problems: Problems) -> Texts:
    """One text for every language, or one per language."""
    if node is None or node.is_null:
        return default
    if node.is_map:
        given = {language: text for language, part in node.items() if (text := part.text(problems))}
        return {**default, **given}
    text = node.text(problems)
    return {"en": text, "zh": text} if text else default
