"""Whether people can read a brand's colours: WCAG 2.2, contrast of text (1.4.3, level AA).

The widget shows nothing unreadable: it replaces the colour. What it does about each pair is said in the warning.

Invariant: a colour that is not #rrggbb, or a pair below 4.5 to 1, is a warning with its line; never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bot.assistant.source import Node, Problems

READABLE = 4.5
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
# In front, behind, and what the widget does when the two are too close.
_PAIRS = (
    ("on_primary", "primary", "The widget writes in black or white on it instead."),
    ("text", "background", "The widget writes in black or white on it instead."),
    ("primary", "background", "The widget shows buttons and links in the text's colour instead."),
)


def contrast(one: str, other: str) -> float:
    """1 (the same) to 21 (black on white) for two colours written #rrggbb."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def check_colors(node: Node | None, defaults: Mapping[str, str], problems: Problems) -> None:
    """Warn about colours that the widget cannot use, and about pairs that people cannot read."""
    if node is None or not node.expect_map(problems):
        return
    node.warn_unknown_keys(frozenset(defaults), problems)
    places = dict(node.items())
    colors = dict(defaults)
    for name, place in places.items():
        if not isinstance(place.value, str):
            continue
        if _HEX.fullmatch(place.value):
            colors[name] = str(place.value)
        else:
            problems.warning(place, f"'{place.value}' is not a colour the widget knows", 'Write it as "#rrggbb".')
    for front, behind, consequence in _PAIRS:
        changed = places.get(front) or places.get(behind)
        found = contrast(colors[front], colors[behind])
        if changed is not None and found < READABLE:
            problems.warning(
                changed,
                f"{front} {colors[front]} on {behind} {colors[behind]} is hard to read: "
                f"contrast {found:.1f}, at least {READABLE} is needed (WCAG AA)",
                consequence,
            )


def _luminance(color: str) -> float:
    parts = (int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
