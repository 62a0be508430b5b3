"""The error tree of the product. An error a person sees says what is wrong, where, and what to do.

KefuError
├── AssistantError        the assistant's files are wrong (file, line, field)
├── ConfigurationError    settings, environment or KEFU_HOME are wrong
├── ReviewError           a review file cannot be written or taken back (file, line, field)
├── StorageError          the database refused
│   ├── StaleConversation another worker moved the conversation on: drop the turn, the row is theirs
│   └── SchemaOutdated    the database needs `kefu db upgrade`
├── ActionFailed          a custom action crashed, hung or answered nonsense
└── Overloaded            too much waits already; try again later
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class KefuError(Exception):
    """Something in Kefu went wrong."""

    http_status = 500
    retry_after_s: float | None = None

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


@dataclass(frozen=True, kw_only=True)
class Where:
    """A place in a file that a person can open."""

    file: Path
    line: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        return f"{place} ({self.field})" if self.field else place


class AssistantError(KefuError):
    """The assistant's files cannot be used."""

    http_status = 422

    def __init__(self, message: str, *, where: Where | None = None, hint: str | None = None) -> None:
        self.where, self.hint = where, hint
        parts = [f"{where}: {message}" if where else message]
        if hint:
            parts.append(hint)
        super().__init__("\n  ".join(parts))


class ConfigurationError(KefuError):
    """The settings cannot be used."""


class ReviewError(KefuError):
    """A review file cannot be written or taken back."""


class StorageError(KefuError):
    """The database refused."""

    http_status = 503
    retry_after_s: float | None = 1.0


class StaleConversation(StorageError):
    """Another worker moved this conversation on; this turn is dropped."""


class SchemaOutdated(StorageError):
    """The database schema is older than this program; run `kefu db upgrade`."""

    retry_after_s = None


class ActionFailed(KefuError):
    """A custom action failed."""


class Overloaded(KefuError):
    """Too many messages wait; try again later."""

    http_status = 503
    retry_after_s = 2.0
