"""`suggestions:` of kefu.yml: what is suggested to customers, from which files, how boldly.

The files themselves are read by `catalogue.py`. Invariant: None means that nothing is ever suggested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.assistant.source import Node, Problems

MOST_SHOWN = 10
"""As many cards as the channels show at most."""


@dataclass(frozen=True, kw_only=True)
class SuggestionsConfig:
    """What `action_suggest` shows.

    Attributes:
        catalogue, orders: files in the assistant's folder; without orders there is no history.
        intent: what a card's button asks, with the thing's name as `entity`; None: a button opens its `url`, if it has
            one.
        card: by language, what a card says under the name; `{column}` is the catalogue's.
        explore: share of places that are drawn at random, so that other policies can be judged from the log.
    """

    catalogue: str = "suggest/catalogue.csv"
    orders: str | None = None
    intent: str | None = None
    entity: str = "product"
    card: Mapping[str, str] = field(default_factory=dict)
    count: int = 3
    explore: float = 0.0


_KEYS = frozenset(SuggestionsConfig.__dataclass_fields__)


def read_suggestions(node: Node | None, problems: Problems) -> SuggestionsConfig | None:
    """`off`, or the settings; nothing there is off too."""
    if node is None or node.is_null or node.value in ("off", False):
        return None
    if not node.is_map:
        problems.error(node, "`off` or settings are expected here", "For instance `catalogue: suggest/catalogue.csv`.")
        return None
    node.warn_unknown_keys(_KEYS, problems)
    card = node.get("card")
    given: dict[str, Any] = {
        name: text
        for name in ("catalogue", "orders", "intent", "entity")
        if (part := node.get(name)) is not None and not part.is_null and (text := part.text(problems))
    }
    return SuggestionsConfig(
        **given,
        card=_lines(card, problems) if card else {},
        count=int(_between(node, "count", 1, MOST_SHOWN, SuggestionsConfig.count, problems)),
        explore=_between(node, "explore", 0, 1, SuggestionsConfig.explore, problems),
    )


def _lines(node: Node, problems: Problems) -> dict[str, str]:
    if not node.expect_map(problems):
        return {}
    return {language: text for language, part in node.items() if (text := part.text(problems)) is not None}


def _between(node: Node, key: str, least: float, most: float, default: float, problems: Problems) -> float:
    part = node.get(key)
    value = part.number(problems) if part else None
    if value is None:
        return default
    if not least <= value <= most:
        problems.error(part, f"{key} is {value:g}; between {least:g} and {most:g} is expected")
        return default
    return value
