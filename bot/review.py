"""What the bot was unsure of, out to people as JSON lines and back as labels in the log.

Which predictions are worth a look is decided in `bot.storage.predictions`, what is learned from labels in
`bot.learning`.
Invariant: no personal data leaves the log; an import takes every label of its file or none.
"""

from __future__ import annotations

import difflib
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

from bot.answers.documents import DOCUMENTS, read_passages
from bot.assistant.loader import Assistant
from bot.errors import ReviewError, Where
from bot.redaction import redact
from bot.storage import predictions
from bot.storage.database import Database
from bot.storage.predictions import Label, LabelOutcome, ReviewItem, ReviewLimits
from models.artifact import write_whole
from models.base import Sentiment

SKIP = "skip"
RANKING_SHOWN = 5
ERRORS_SHOWN = 20
# Rasa's own: they say what the dialogue does, not what a customer means.
NEVER_LABELS = frozenset({"nlu_fallback", "restart", "back", "session_start"})


class ReviewLine(BaseModel):
    """One line of a review file. A person fills in `label`, and `sentiment_label` and `passages` where they matter.

    `passages`: where in the documents the answer is; []: nowhere.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    prediction_id: int
    text: str | None = None
    predicted: str | None = None
    confidence: float | None = None
    ranking: list[dict[str, Any]] = []
    sentiment: str | None = None
    language: str | None = None
    reason: Literal["uncertain", "fallback", "random"] | None = None
    model_version: str | None = None
    created_at: str | None = None
    label: str | None = None
    sentiment_label: Sentiment | None = None
    passages: list[str] | None = None


@dataclass(frozen=True, kw_only=True)
class ReviewCounts:
    """What an import did.

    Attributes:
        taken: new or changed labels.
        unchanged: labels that the log held already.
        skips: of both, those that say "skip".
        open: lines without a label.
    """

    taken: int
    unchanged: int
    skips: int
    open: int

    def __rich__(self) -> str:
        return (
            f"[bold]{self.taken}[/] labels taken, {self.unchanged} known before ({self.skips} of them to skip); "
            f"{self.open} lines without a label"
        )


async def export_review(
    db: Database,
    assistant_id: str,
    path: Path | None,
    *,
    n: int = 200,
    since: datetime | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> int:
    """Write at most `n` unlabelled predictions, one JSON object a line, to `path` or standard output; returns how many.

    No file is made where there is nothing to review.
    A third each: fallen back, uncertain, random. The random third is what tells how good the bot is where it is sure.

    Args:
        since: only predictions from then on.
        seed: of the random part: the same log and seed give the same file.
    Raises:
        ReviewError: `path` exists; it may hold somebody's labels.
    """
    _refuse_to_overwrite(path)
    limits = ReviewLimits(fallback=n - 2 * (n // 3), uncertain=n // 3, random=n // 3)
    begin = since or datetime.fromtimestamp(0, UTC)
    items = await db.read(lambda c: predictions.for_review(c, assistant_id, begin, limits, seed))
    text = "".join(_line(item).model_dump_json() + "\n" for item in items)
    if path is None:
        sys.stdout.write(text)
        sys.stdout.flush()
    elif items:
        write_whole(path, text)
    if console is not None:
        console.print(_summary(items, path), highlight=False, markup=False, soft_wrap=True)
    return len(items)


def _refuse_to_overwrite(path: Path | None) -> None:
    if path is not None and path.exists():
        raise ReviewError(f"{path} exists already and may hold labels; import it first, or give another name")


def _line(item: ReviewItem) -> ReviewLine:
    return ReviewLine(
        prediction_id=item.prediction_id,
        text=redact(item.text),
        predicted=item.intent,
        confidence=round(item.confidence, 4),
        ranking=item.ranking[:RANKING_SHOWN],
        sentiment=item.sentiment,
        language=item.language,
        reason=item.why,
        model_version=item.model_version,
        created_at=item.created_at.isoformat(),
    )


def _summary(items: Sequence[ReviewItem], path: Path | None) -> str:
    if not items:
        return "nothing to review: every prediction has a label, or nobody has written yet"
    counts = Counter(item.why for item in items)
    parts = ", ".join(f"{counts[why]} {why}" for why in ("fallback", "uncertain", "random"))
    file = path or "FILE"
    return (
        f"{len(items)} messages ({parts}) in {path or 'standard output'}\n"
        f'  fill in "label" with the intent it should have been, or "{SKIP}"; leave the rest null\n'
        f"  then: kefu review import {file}"
    )


async def import_review(db: Database, assistant: Assistant, path: Path) -> ReviewCounts:
    """Store the labels of a review file; the same file again changes nothing, a changed label replaces the one before.

    Raises:
        ReviewError: naming file and line of everything that is wrong (JSON, fields, intents, ids); nothing was stored.
    """
    lines, problems = _read_lines(path)
    problems += _check_labels(path, lines, assistant)
    problems += _check_passages(path, lines, assistant)
    if problems:
        raise _refusal(problems)
    labels = {number: _as_label(line, path) for number, line in lines.items() if line.label is not None}
    outcome = await db.write(lambda c: _store(c, assistant.assistant_id, path, lines, labels))
    skipped = sum(label.intent is None for label in labels.values())
    return ReviewCounts(
        taken=outcome.added + outcome.changed,
        unchanged=outcome.unchanged,
        skips=skipped,
        open=len(lines) - len(labels),
    )


def _read_lines(path: Path) -> tuple[dict[int, ReviewLine], list[str]]:
    """The lines by their number in the file, and what is wrong with the others."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReviewError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    lines: dict[int, ReviewLine] = {}
    problems: list[str] = []
    for number, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            lines[number] = ReviewLine.model_validate_json(text)
        except ValidationError as error:
            problems += _as_problems(path, number, error)
    return lines, problems


def _as_problems(path: Path, number: int, error: ValidationError) -> Iterator[str]:
    for found in error.errors(include_url=False):
        field = ".".join(str(part) for part in found["loc"])
        where = Where(file=path, line=number, field=field or None)
        if found["type"] == "extra_forbidden":
            yield f"{where}: unknown key; known are {', '.join(ReviewLine.model_fields)}"
        elif found["type"] == "json_invalid":
            yield f"{where}: not one JSON object ({found['ctx']['error']})"
        else:
            yield f"{where}: {found['msg']}"


def _check_labels(path: Path, lines: Mapping[int, ReviewLine], assistant: Assistant) -> list[str]:
    known = set(assistant.domain.intents) - NEVER_LABELS
    problems = []
    first_at: dict[int, int] = {}
    for number, line in lines.items():
        if line.label is None:
            for name in ("sentiment_label", "passages"):
                if getattr(line, name) is not None:
                    where = Where(file=path, line=number, field="label")
                    problems.append(f'{where}: a {name} needs a label too; "{SKIP}" leaves the intent alone')
            continue
        if line.label != SKIP and line.label not in known:
            where = Where(file=path, line=number, field="label")
            near = difflib.get_close_matches(line.label, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(sorted(known))}, or {SKIP}"
            problems.append(f"{where}: unknown intent '{line.label}'; {hint}")
        if (before := first_at.setdefault(line.prediction_id, number)) != number:
            where = Where(file=path, line=number, field="prediction_id")
            problems.append(f"{where}: prediction {line.prediction_id} is labelled in line {before} already; keep one")
    return problems


def _check_passages(path: Path, lines: Mapping[int, ReviewLine], assistant: Assistant) -> Iterator[str]:
    named = [(number, name) for number, line in lines.items() for name in line.passages or ()]
    if not named:
        return
    documents = assistant.root / DOCUMENTS
    read = read_passages(documents)[0] if documents.is_dir() else []
    known = {name for each in read for name in (each.source, f"{each.source}#{each.anchor}")}
    for number, name in named:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else "`kefu knowledge search` says where something stands"
            yield f"{Where(file=path, line=number, field='passages')}: no document is '{name}'; {hint}"


def _as_label(line: ReviewLine, path: Path) -> Label:
    return Label(
        prediction_id=line.prediction_id,
        intent=None if line.label == SKIP else line.label,
        sentiment=line.sentiment_label,
        labelled_by=f"file:{path.name}",
        passages=None if line.passages is None else tuple(line.passages),
    )


def _store(
    conn: Any, assistant_id: str, path: Path, lines: Mapping[int, ReviewLine], labels: Mapping[int, Label]
) -> LabelOutcome:
    """Runs in one transaction: what it raises undoes what it stored."""
    outcome = predictions.add_labels(conn, assistant_id, list(labels.values()), datetime.now(UTC))
    texts = {stored.prediction_id: redact(stored.text) for stored in predictions.labels(conn, assistant_id)}
    problems = []
    for number, label in labels.items():
        where = Where(file=path, line=number, field="prediction_id")
        shown = lines[number].text
        if label.prediction_id in outcome.unknown:
            problems.append(f"{where}: no prediction {label.prediction_id} in this database")
        elif shown is not None and shown != texts[label.prediction_id]:
            # Ids count up from 1 in every database: a file from another one would label strangers' messages.
            problems.append(f"{where}: prediction {label.prediction_id} has another text here")
    if problems:
        problems.append("Was the file exported from this KEFU_HOME and assistant? Leave `text` as it was exported.")
        raise _refusal(problems)
    return outcome


def _refusal(problems: Sequence[str]) -> ReviewError:
    shown = [*problems[:ERRORS_SHOWN]]
    if len(problems) > ERRORS_SHOWN:
        shown.append(f"… and {len(problems) - ERRORS_SHOWN} more")
    return ReviewError("\n  ".join(["nothing was imported:", *shown]))
