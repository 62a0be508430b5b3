"""The files that suggestions come from: a catalogue and an order history, as a company's own systems export them.

CSV with a header, or JSON lines (`.jsonl`) with the same names. Columns that end in a language (`name_en`, `why_zh`)
are words for its customers. Which files: `suggestions.py`.

Invariant: ids are unique, and every order that is given names something of the catalogue.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from bot.assistant.source import Problems
from bot.assistant.suggestions import SuggestionsConfig
from bot.errors import Where

Row = tuple[Where, Mapping[str, str]]
ANY_LANGUAGE = ""
_IN_A_LANGUAGE = re.compile(r"(\w+)_([a-z]{2})")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NO = frozenset({"", "no", "false", "0", "否"})


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that can be suggested.

    Attributes:
        names, texts: by language; `ANY_LANGUAGE` where the file names none.
        kind: the category; not many of one are shown together.
        is_there: in stock.
        columns: the row as it stands in the file.
    """

    id: str
    names: Mapping[str, str]
    texts: Mapping[str, str]
    kind: str = ""
    is_there: bool = True
    columns: Mapping[str, str] = field(default_factory=dict)

    def name(self, language: str) -> str:
        return in_language(self.names, language)


@dataclass(frozen=True, kw_only=True)
class Order:
    """That a customer took something, and perhaps sent it back; `on` where the day is known."""

    customer: str
    item: str
    is_returned: bool = False
    on: date | None = None


def in_language(words: Mapping[str, str], language: str) -> str:
    """The words for this language, else those for any, else the first there are."""
    return words.get(language) or words.get(ANY_LANGUAGE) or next(iter(words.values()))


def read_files(root: Path, config: SuggestionsConfig, problems: Problems) -> tuple[list[Item], list[Order]]:
    """Both files of the assistant in `root`; what is wrong in them is among the problems, with file and line."""
    items = read_catalogue(root / config.catalogue, config, problems)
    if config.orders is None:
        return items, []
    return items, read_orders(root / config.orders, {item.id for item in items}, problems)


def read_catalogue(file: Path, config: SuggestionsConfig, problems: Problems) -> list[Item]:
    """The things of the file, in its order."""
    items: dict[str, Item] = {}
    for where, row in _rows(file, problems):
        item = _item(row, where, config, problems)
        if item is None:
            continue
        if item.id in items:
            problems.error(where, f"'{item.id}' stands in the catalogue twice", "Keep one of the two.")
        items.setdefault(item.id, item)
    return list(items.values())


def read_orders(file: Path, known: Collection[str], problems: Problems) -> list[Order]:
    """The orders of the file; one of a thing that is not sold any more is left out."""
    orders, gone = [], 0
    for where, row in _rows(file, problems):
        customer, item = customer_key(row.get("customer", "")), _id_of(row)
        if not customer or not item:
            problems.error(where, "an order needs `customer` and `product_id`")
        elif item not in known:
            gone += 1
        else:
            is_returned = row.get("returned", "").strip().casefold() not in _NO
            orders.append(Order(customer=customer, item=item, is_returned=is_returned, on=_day(row, where, problems)))
    if gone:
        problems.warning(Where(file=file), f"{gone} orders are of things that are not in the catalogue; left out")
    return orders


def customer_key(name: str) -> str:
    """How customers are compared: an address without its capitals, a number without its spaces."""
    return re.sub(r"\s", "", name).casefold()


def _id_of(row: Mapping[str, str]) -> str:
    return (row.get("product_id") or row.get("id") or "").strip()


def _day(row: Mapping[str, str], where: Where, problems: Problems) -> date | None:
    written = row.get("on", "").strip()
    try:
        return date.fromisoformat(written[:10]) if written else None
    except ValueError:
        problems.error(where, f"on: '{written}' is no day", "For instance 2026-11-30.")
        return None


def _item(row: Mapping[str, str], where: Where, config: SuggestionsConfig, problems: Problems) -> Item | None:
    item_id, names = _id_of(row), _by_language(row, "name")
    if not item_id or not names:
        wanted = "`name` or `name_en`, `name_zh` …"
        problems.error(where, f"a thing of the catalogue needs `product_id` and a name ({wanted})")
        return None
    for language, line in config.card.items():
        if unknown := set(_PLACEHOLDER.findall(line)) - row.keys():
            hint = f"Columns: {', '.join(row)}."
            problems.error(where, f"`suggestions.card.{language}` names the unknown column {min(unknown)}", hint)
            return None
    return Item(
        id=item_id,
        names=names,
        texts=_by_language(row),
        kind=row.get("category", "").strip(),
        is_there=_is_there(row.get("stock"), where, problems),
        columns=row,
    )


def _by_language(row: Mapping[str, str], only: str | None = None) -> dict[str, str]:
    """The words of one column, or of all that have a language (and `name` and `text`), joined by language."""
    found: dict[str, list[str]] = {}
    for column, value in row.items():
        match = _IN_A_LANGUAGE.fullmatch(column)
        stem, language = match.groups() if match and column != "product_id" else (column, ANY_LANGUAGE)
        is_chosen = stem == only if only else language != ANY_LANGUAGE or stem in ("name", "text")
        if is_chosen and value.strip():
            found.setdefault(language, []).append(value.replace("|", ", ").strip())
    return {language: ". ".join(words) for language, words in found.items()}


def _is_there(stock: str | None, where: Where, problems: Problems) -> bool:
    """`7`, or pieces by colour or size (`brass:14|black:0`); without the column it always is."""
    if stock is None or not stock.strip():
        return True
    try:
        return any(float(part.rpartition(":")[2]) > 0 for part in stock.split("|"))
    except ValueError:
        problems.error(where, f"stock: '{stock}' is no number", "For instance 7, or brass:14|black:0.")
        return False


# ---- rows ----


def _rows(file: Path, problems: Problems) -> Iterator[Row]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        problems.error(Where(file=file), f"the file cannot be read ({why})", "kefu.yml names it under `suggestions:`.")
        return
    yield from (_json_rows if file.suffix == ".jsonl" else _csv_rows)(file, text, problems)


def _csv_rows(file: Path, text: str, problems: Problems) -> Iterator[Row]:
    # Not `splitlines`: a cell may hold U+2028 and others that are no end of a row.
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header, *rows = [(reader.line_num, cells) for cells in reader] or [(1, [])]
    except csv.Error as error:
        problems.error(Where(file=file, line=reader.line_num), f"not CSV: {error}", "Is a quotation mark left open?")
        return
    names = [name.strip() for name in header[1]]
    for line, cells in rows:
        where = Where(file=file, line=line)
        if len(cells) == len(names):
            yield where, dict(zip(names, cells, strict=True))
        elif cells:
            problems.error(where, f"{len(cells)} cells in a row of {len(names)} columns", 'Quote commas: "a, b".')


def _json_rows(file: Path, text: str, problems: Problems) -> Iterator[Row]:
    for line, written in enumerate(text.split("\n"), start=1):
        where = Where(file=file, line=line)
        try:
            row = json.loads(written) if written.strip() else None
        except (ValueError, RecursionError) as error:
            problems.error(where, f"not valid JSON: {error}")
            continue
        if isinstance(row, dict):
            yield where, {name: _as_text(value) for name, value in row.items()}
        elif row is not None:
            problems.error(where, "a JSON object is expected on each line")


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(_as_text, value))
    return "" if value is None else str(value)
