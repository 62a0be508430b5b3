"""Column types that mean the same on SQLite and PostgreSQL. No tables here.

Invariant: an instant is aware and UTC on both sides of the driver; stored text is valid UTF-8 without NUL.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from connectors.base import storable_text

# pydantic's encoder takes a fifth of the standard one's time, which was a tenth of a turn.
_any_value: TypeAdapter[Any] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_JSON_ESCAPE = re.compile(r"\\(?:u0000|.)")


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` on PostgreSQL; fixed-width ISO text on SQLite, so that comparing text compares instants."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(32) if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"naive datetime {value!r} for a UTC column: pass datetime.now(UTC)")
        utc = value.astimezone(UTC)
        return utc.isoformat(timespec="microseconds") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return datetime.fromisoformat(value) if dialect.name == "sqlite" else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER PRIMARY KEY


def to_json(value: object) -> str:
    """JSON that both databases take, whatever a customer typed or an action returned; NaN and infinity are refused."""
    try:
        encoded = _any_value.dump_json(value).decode()
    except ValueError:  # half an emoji: the slow encoder lets it through, and storable_text mends it
        encoded = _encode(value)
    if (
        "NaN" in encoded or "Infinity" in encoded
    ):  # the number or the word: the slow encoder knows, and refuses the number
        encoded = _encode(value)
    if "\\u0000" in encoded:
        encoded = _JSON_ESCAPE.sub(lambda escape: "" if escape[0] == "\\u0000" else escape[0], encoded)
    return storable_text(encoded)


def from_json(encoded: str) -> Any:
    """What `to_json` encoded."""
    try:
        return _any_value.validate_json(encoded)
    except ValueError:  # nested deeper than pydantic reads
        return json.loads(encoded)
