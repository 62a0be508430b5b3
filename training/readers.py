"""Labelled utterances from files of other people's making: tables, JSON lines, Rasa's NLU YAML, CLINC150's JSON.

The assistant's own folder is read by `bot/assistant`, with every check; here a file is data to measure on. Invariant:
nothing is dropped silently: what cannot be read is an error with file and line.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.annotations import split_annotations
from training.dataset import DataError, EntityValue, Utterance

TEXT_COLUMNS = ("text", "utterance", "sentence")
LABEL_COLUMNS = ("intent", "label", "category")
# How public sets write the moods; three values where -1 or 2 occurs, else two.
_MOODS = {"neg": "negative", "neu": "neutral", "pos": "positive", "-1": "negative"}
_TWO = {"0": "negative", "1": "positive"}
_THREE_SIGNED = {"0": "neutral", "1": "positive"}
_THREE = {"0": "negative", "1": "neutral", "2": "positive"}
_LANGUAGE_SUFFIX = re.compile(r"(?:^|[_.-])(en|zh)(?:$|[_.-])", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A file with splits of its own, or with training rows alone; `out_of_scope` are test rows of no intent."""

    train: tuple[Utterance, ...]
    test: tuple[Utterance, ...] = ()
    out_of_scope: tuple[Utterance, ...] = ()


def read_corpus(path: Path) -> Corpus:
    """Read a file of any kind; of CLINC150's JSON all three parts.

    Raises:
        DataError: naming the file, the line or field, and what was expected.
    """
    if path.suffix.lower() == ".json" and (splits := _clinc_splits(path)) is not None:
        return Corpus(
            train=_pairs(path, splits, "train"),
            test=_pairs(path, splits, "test"),
            out_of_scope=_pairs(path, splits, "oos_test"),
        )
    return Corpus(train=read_utterances(path))


def read_utterances(path: Path) -> tuple[Utterance, ...]:
    """Read `.csv`, `.tsv`, `.jsonl` with a text column (text, utterance, sentence) and a label column (intent, label,
    category), or Rasa's NLU `.yml`.

    Raises:
        DataError: naming the file, the line and the column.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'}; use {', '.join(sorted(_READERS))}"
        )
    try:
        found = tuple(reader(path))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if not found:
        raise DataError(f"{path}: no examples in it")
    return found


def as_moods(utterances: Sequence[Utterance], others: Sequence[Utterance] = ()) -> tuple[Utterance, ...]:
    """The same with labels negative, neutral and positive, where a set writes 0/1, -1/0/1, 0/1/2 or neg/neu/pos.

    Args:
        others: rows of the same set: its training rows tell that 0 is neutral where its test holds only 0 and 1.
    """
    labels = {utterance.label for utterance in (*utterances, *others)}
    numbers = _THREE_SIGNED if "-1" in labels else _THREE if "2" in labels else _TWO
    names = {**_MOODS, **numbers}
    return tuple(replace(u, label=names.get(u.label.lower(), u.label.lower())) for u in utterances)


def _table(path: Path) -> Iterable[Utterance]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        for row in rows:
            yield _from_row(path, rows.line_num, row)


def _json_lines(path: Path) -> Iterable[Utterance]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{path}:{number}: not JSON ({error}); write one object a line") from error
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: an object was expected, with text and intent")
                yield _from_row(path, number, row)


def _from_row(path: Path, line: int, row: Mapping[str, object]) -> Utterance:
    # An empty text is data (public sets hold some): training drops it, a test asks about it.
    text = next((row[name] for name in TEXT_COLUMNS if row.get(name) is not None), None)
    label = next((row[name] for name in LABEL_COLUMNS if row.get(name) not in (None, "")), None)
    if not isinstance(text, str):
        raise DataError(f"{path}:{line}: no text; name the column {' or '.join(TEXT_COLUMNS)}")
    if not isinstance(label, str | int):
        raise DataError(f"{path}:{line}: no label; name the column {' or '.join(LABEL_COLUMNS)}")
    language = row.get("language")
    return Utterance(
        text=text,
        label=str(label).strip(),
        language=language if isinstance(language, str) else _language_of(path),
        source=f"{path.name}:{line}",
    )


def _rasa(path: Path) -> Iterable[Utterance]:
    """Intent examples of `nlu:`; synonyms, lookups and regexes are no labelled texts."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        root = YAML(typ="rt").load(path)
    except YAMLError as error:
        raise DataError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    sections = root.get("nlu") if isinstance(root, dict) else None
    if not isinstance(sections, list):
        raise DataError(f"{path}: no list `nlu:` in it; Rasa's NLU files have `nlu:` with `- intent: …`")
    for position, section in enumerate(sections):
        if not isinstance(section, dict) or "intent" not in section:
            continue
        line = sections.lc.item(position)[0] + 1  # type: ignore[attr-defined]
        for at, text in _rasa_lines(path, line, section):
            yield _from_example(path, at, str(section["intent"]), text)


def _rasa_lines(path: Path, line: int, section: Any) -> Iterable[tuple[int, str]]:
    examples = section.get("examples")
    if isinstance(examples, str):
        first = section.lc.value("examples")[0] + 2  # the block starts on the line after its key
        for offset, raw in enumerate(examples.splitlines()):
            text = raw.strip()
            if not text or text.startswith("#"):
                continue
            if not text.startswith("-"):
                raise DataError(f"{path}:{first + offset}: an example must start with '- ': {text!r}")
            if text := text[1:].strip():
                yield first + offset, text
    elif isinstance(examples, list):
        for item in examples:
            written = item.get("text") if isinstance(item, dict) else item
            if isinstance(written, str) and written.strip():
                yield line, written.strip().removeprefix("- ").strip()
    else:
        raise DataError(f"{path}:{line}: the intent '{section['intent']}' has no examples; add `examples: |`")


def _from_example(path: Path, line: int, intent: str, text: str) -> Utterance:
    plain, spans = split_annotations(text)
    values = tuple(
        EntityValue(
            entity=span.entity,
            text=plain[span.start : span.end],
            value=span.value if span.value != plain[span.start : span.end] else None,
            role=span.role,
            group=span.group,
            start=span.start,
            end=span.end,
        )
        for span in spans
    )
    language = _language_of(path)
    return Utterance(text=plain, label=intent, language=language, source=f"{path.name}:{line}", entities=values)


def _clinc_splits(path: Path) -> Mapping[str, object] | None:
    """The object of lists in CLINC150's files; None for any other JSON, which may be JSON lines."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("train"), list) else None


def _pairs(path: Path, splits: Mapping[str, object], split: str) -> tuple[Utterance, ...]:
    rows = splits.get(split, [])
    if not isinstance(rows, list):
        raise DataError(f"{path}: '{split}' must be a list of [text, label]")
    out = []
    for number, row in enumerate(rows):
        if not (isinstance(row, list) and len(row) == 2 and all(isinstance(part, str) for part in row)):
            raise DataError(f"{path}: entry {number} of '{split}' is not [text, label]: {row!r}")
        out.append(Utterance(text=row[0], label=row[1], source=f"{path.name}:{split}[{number}]"))
    return tuple(out)


def _clinc_train(path: Path) -> Iterable[Utterance]:
    splits = _clinc_splits(path)
    return _json_lines(path) if splits is None else _pairs(path, splits, "train")


def _language_of(path: Path) -> str | None:
    found = _LANGUAGE_SUFFIX.search(path.stem)
    return found.group(1).lower() if found else None


_READERS: dict[str, Callable[[Path], Iterable[Utterance]]] = {
    ".csv": _table,
    ".tsv": _table,
    ".jsonl": _json_lines,
    ".json": _clinc_train,
    ".yml": _rasa,
    ".yaml": _rasa,
}
