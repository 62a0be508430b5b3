"""Entities annotated inside an example, as Rasa writes them: `my [blue lamp](product)`, `[2]{"entity": "number"}`.

Reading files is the callers'. Invariant: spans are code-point offsets into the plain text, end exclusive.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EntitySpan:
    start: int
    end: int
    entity: str
    value: str
    role: str | None = None
    group: str | None = None

    def as_entity(self) -> dict[str, Any]:
        """The entity as Rasa's parse data names it, without the span."""
        parts = {"entity": self.entity, "value": self.value, "role": self.role, "group": self.group}
        return {key: value for key, value in parts.items() if value is not None}


# `[text](entity)`, `[text](entity:value)`, `[text]{"entity": …, "role": …}` and the list form `[text][{…}, {…}]`.
_ANNOTATION = re.compile(
    r"\[(?P<text>[^\]]+?)\]"
    r"(?:\((?P<entity>[^:)]+?)(?::(?P<value>[^)]+))?\)|(?P<object>\{[^}]+?\})|(?P<list>\[\s*\{.*?\}\s*\]))"
)


def split_annotations(text: str) -> tuple[str, list[EntitySpan]]:
    """The plain text and the entities annotated in it; a broken annotation stays in the text."""
    plain, spans, position = "", [], 0
    for found in _ANNOTATION.finditer(text):
        described = _annotated(found)
        if not described:
            continue
        plain += text[position : found.start()]
        start, surface = len(plain), found["text"]
        plain += surface
        position = found.end()
        spans += [
            EntitySpan(
                start=start,
                end=len(plain),
                entity=str(item["entity"]),
                value=str(item.get("value", surface)),
                role=item.get("role"),
                group=item.get("group"),
            )
            for item in described
        ]
    return plain + text[position:], spans


def _annotated(found: re.Match[str]) -> list[dict[str, Any]]:
    if found["entity"]:
        value = {"value": found["value"]} if found["value"] else {}
        return [{"entity": found["entity"].strip(), **value}]
    try:
        described = json.loads(found["object"] or found["list"])
    except ValueError:
        return []
    items = described if isinstance(described, list) else [described]
    return items if all(isinstance(item, dict) and "entity" in item for item in items) else []
