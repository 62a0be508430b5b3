"""One bot message of every kind, as a domain's responses and custom actions write them; and any body at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from ruamel.yaml import YAML

GOLDENS: dict[str, dict[str, Any]] = YAML(typ="safe").load(Path(__file__).parent / "goldens" / "rendering.yml")
RICH: dict[str, dict[str, Any]] = {kind: golden["body"] for kind, golden in GOLDENS.items()}

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
