"""One bot message of every kind, as a domain's responses and custom actions write them; and any body at all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

BUTTONS = [
    {"title": "Track it", "payload": '/track{"order": "A-1001"}'},
    {"title": "Terms", "url": "https://shop.example/terms"},
]
LAMP = {
    "title": "Desk lamp",
    "subtitle": "€ 89.90",
    "image_url": "https://shop.example/lamp.png",
    "buttons": [{"title": "Buy", "payload": '/buy{"product": "lamp"}'}],
}
CHAIR = {"title": "Chair", "subtitle": "€ 120", "buttons": [{"title": "See", "url": "https://shop.example/chair"}]}

RICH: dict[str, dict[str, Any]] = {
    "text": {"text": "Your order is on its way.\n\nAnything else? 还有别的吗？"},
    "buttons": {"text": "Which one?", "buttons": BUTTONS},
    "quick_replies": {"text": "Did this help?", "quick_replies": [{"title": "Yes", "payload": "/affirm"}]},
    "card": {"custom": {"type": "card", **LAMP}},
    "carousel": {"elements": [LAMP, CHAIR]},
    "image": {"text": "Here it is:", "image": "https://shop.example/lamp.png"},
    "named_image": {"custom": {"type": "image", "url": "https://shop.example/lamp.png", "alt": "A desk lamp"}},
    "file": {"attachment": "https://shop.example/files/return%20label.pdf"},
    "form": {"custom": {"type": "form", "slot": "email", "input": "email", "text": "Your e-mail address?"}},
    "rating": {"custom": {"type": "rating", "text": "How was it?", "max": 5}},
}

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
_KEYS = ["text", "buttons", "quick_replies", "custom", "image", "attachment", "elements"]
BODIES = st.dictionaries(
    st.sampled_from(_KEYS),
    _JSON | st.lists(st.dictionaries(st.sampled_from(["title", "url", "payload", "image"]), _JSON)),
    max_size=6,
)
"""Whatever a custom action may hand over as a message."""
