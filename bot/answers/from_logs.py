"""`answers/from_logs.jsonl` of an assistant: questions from the log and what answers them, for a person to read.

What is evidence is `bot.logged_questions`' to say; who reads the file to learn is `bot.knowing`. Invariant: a line that
is there stays as a person left it, until its customer is erased.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models.artifact import write_whole

FROM_LOGS = Path("answers") / "from_logs.jsonl"

Origin = Literal["reviewed", "pressed", "operator"]
"""Whose word it is: a reviewer's, customers' who chose a heading, or an operator's who replied."""


@dataclass(frozen=True, kw_only=True)
class LoggedQuestion:
    """A question of the log, redacted.

    Attributes:
        passages: what answers it; none: nothing does.
        reply: what a person answered.
        customers: keys of those who asked it.
        doubt: why a person has to decide before it is learned from.
    """

    question: str
    passages: tuple[str, ...]
    origin: Origin
    customers: tuple[str, ...]
    reply: str | None = None
    doubt: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As the lines of `answers/*.jsonl` are; `use: false` keeps it from being learned from."""
        return {
            "question": self.question,
            "passages": [*self.passages],
            **({"reply": self.reply} if self.reply else {}),
            "from": self.origin,
            "customers": [*self.customers],
            **({"use": False, "doubt": self.doubt} if self.doubt else {}),
        }


def append(file: Path, questions: Sequence[LoggedQuestion]) -> None:
    """Add lines; what is there stays to the letter."""
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    added = "".join(json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in questions)
    write_whole(file, before + added)


def forget(file: Path, customer: str) -> int:
    """Take out every line in which the customer's key stands; how many they were."""
    if not file.exists():
        return 0
    lines = file.read_text(encoding="utf-8").split("\n")  # no other break: a question may hold one
    kept = [line for line in lines if customer not in line]  # also where a person broke the line
    if len(kept) < len(lines):
        write_whole(file, "\n".join(kept))
    return len(lines) - len(kept)


def counted(file: Path) -> Counter[str]:
    """How many lines there are of each customer whose own word they are: a reviewer's count for nobody."""
    lines = file.read_text(encoding="utf-8").split("\n") if file.exists() else []
    return Counter(
        key for line in lines if line.strip() and _value(line).get("from") != "reviewed" for key in _customers(line)
    )


def _customers(line: str) -> Sequence[str]:
    found = _value(line).get("customers")
    return [str(key) for key in found] if isinstance(found, list) else []


def _value(line: str) -> Mapping[str, Any]:
    """A line's object; empty for what a person has made something else of."""
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
