"""Texts that exist in several languages, as they are written in brand.yml."""

from __future__ import annotations

from collections.abc import Mapping

from bot.assistant.source import Node, Problems

Texts = Mapping[str, str]
LANGUAGES = ("en", "zh")


def read_texts(node: Node | None, default: Texts, problems: Problems) -> Texts:
    """One text for every language, or one per language; the default's where the file has none."""
    if node is None or node.is_null:
        return default
    if node.is_map:
        given = {language: text for language, part in node.items() if (text := part.text(problems))}
        return {**default, **given}
    text = node.text(problems)
    return dict.fromkeys(LANGUAGES, text) if text else default
