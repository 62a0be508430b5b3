"""Which department is the right desk for what somebody describes. A table of words, and nothing more.

Departments and words stand in departments.csv; change them there. The invariant: the answer is a department, never
a disease, a cause, a degree of danger or a treatment, and where no word fits it is general practice.
"""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

DEPARTMENTS_FILE = Path(__file__).with_name("departments.csv")
GENERAL = "general"


@dataclass(frozen=True)
class Department:
    """A department, its name in both languages, and the words that lead to it (lower case)."""

    key: str
    names: dict[str, str]
    words: tuple[str, ...]


@lru_cache(maxsize=1)
def departments() -> tuple[Department, ...]:
    """List the departments; of several that fit a message the first in the file is meant."""
    with DEPARTMENTS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_department(row) for row in csv.DictReader(file))


def find_department(text: str) -> Department | None:
    """Find the department a message names, or leads to by one of its words."""
    padded = f" {text.casefold().replace(chr(8217), chr(39))} "
    named = (d for d in departments() if padded.strip() in {d.key, *(name.casefold() for name in d.names.values())})
    fitting = (d for d in departments() if any(word in padded for word in d.words))
    return next(named, None) or next(fitting, None)


def department_of(key: str | None) -> Department:
    """Give the department of this key; general practice for a key that is not in the file (any more)."""
    known = {department.key: department for department in departments()}
    return known.get(key or GENERAL) or known[GENERAL]


def _department(row: dict[str, str]) -> Department:
    words = (*row["words_en"].split("|"), *row["words_zh"].split("|"))
    return Department(key=row["key"], names={"en": row["en"], "zh": row["zh"]}, words=tuple(w for w in words if w))
