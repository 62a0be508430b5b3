"""Why the serving version read a text as it did: words, ranking, thresholds, fallback, for people and as JSON.

The words' effects are found in `models/explain.py` and `training/attribution.py`. Invariant: what is shown is what a
customer's message would have got, from the version that serves.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bot.assistant.loader import Assistant
from bot.dialogue.parsing import to_parse_data
from bot.settings import Settings
from models.base import KIND, ModelUnavailable, Understanding
from models.explain import Effect, Task, occlude
from models.pretrained import NGRAM, resolve_base
from models.registry import Registry
from models.understanding import OUT_OF_SCOPE, TrainedUnderstander, load_understander

if TYPE_CHECKING:
    from training.attribution import Attribution

Method = Literal["occlusion", "gradients"]
SHOWN_INTENTS = 3
BAR = 24
# Of the strongest part: below this share a part is not coloured.
FAINT = 0.15


@dataclass(frozen=True, kw_only=True)
class Driven:
    """An answer and what drove it; `difference`, `rest` and `gap` are the gradients' account, None for occlusion."""

    task: Task
    answer: str
    effects: tuple[Effect, ...]
    difference: float | None = None
    rest: float | None = None
    gap: float | None = None


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Everything that is known about one reading.

    Attributes:
        fallback: why the assistant would not act on the intent; None where it would.
        threshold: above it an `understanding.out_of_scope_score` counts as out of scope.
    """

    understanding: Understanding
    threshold: float
    fallback: str | None
    method: Method
    driven: tuple[Driven, ...]

    def as_json(self) -> dict[str, Any]:
        """For `--json`: what is printed, in numbers."""
        read = self.understanding
        return {
            "text": read.text,
            "intent": asdict(read.intent),
            "ranking": [asdict(score) for score in read.ranking],
            "also": [asdict(score) for score in read.also],
            "entities": [asdict(entity) for entity in read.entities],
            "sentiment": {"name": read.sentiment, "confidence": read.sentiment_confidence},
            "language": read.language,
            "out_of_scope": {
                "score": read.out_of_scope_score,
                "threshold": self.threshold,
                "is_out_of_scope": read.is_out_of_scope,
            },
            "fallback": self.fallback,
            "model_version": read.model_version,
            "method": self.method,
            "driven": [asdict(one) for one in self.driven],
        }


def explain(
    settings: Settings, assistant: Assistant, text: str, *, method: Method = "occlusion", sentiment: bool = False
) -> Explanation:
    """Read a text with the version that serves, and find out what drove the answer.

    Args:
        sentiment: the mood too, where the version names moods.
    Raises:
        ModelUnavailable: no version serves.
        ModelError: gradients were asked for, and the base or its weights are not to be had.
    """
    registry = Registry(settings.models_dir, assistant.assistant_id)
    version = registry.current(KIND)
    if version is None:
        raise ModelUnavailable(f"no model of {assistant.assistant_id!r} serves under {settings.home}; run `kefu train`")
    folder = registry.path(KIND, version)
    reader = load_understander(folder, settings.inference_threads)
    (understanding,) = reader.read([text])
    tasks: list[Task] = ["intent"]
    if sentiment and reader.sentiment_head is not None:
        tasks.append("sentiment")
    if method == "gradients":
        driven = _gradients(reader, folder, settings, text, tasks)
    else:
        answers: dict[Task, str] = {"intent": understanding.intent.name, "sentiment": understanding.sentiment}
        driven = [Driven(task=task, answer=answers[task], effects=occlude(reader, text, task)) for task in tasks]
    return Explanation(
        understanding=understanding,
        threshold=reader.manifest.thresholds[OUT_OF_SCOPE],
        fallback=to_parse_data(understanding, assistant.fallback).get("fallback_reason"),
        method=method,
        driven=tuple(driven),
    )


def explanation_view(explanation: Explanation) -> RenderableType:
    """For the terminal: the text coloured, a bar a part, and what was decided."""
    return Group(*_views(explanation))


def write_page(explanation: Explanation, path: Path) -> None:
    """The same as a web page of its own, to be sent to somebody."""
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(explanation_view(explanation))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(console.export_html(), encoding="utf-8")


def _gradients(
    reader: TrainedUnderstander, folder: Path, settings: Settings, text: str, tasks: Sequence[Task]
) -> list[Driven]:
    name = NGRAM if reader.manifest.base_source == "ngram" else reader.manifest.base
    base = resolve_base(name, settings.bases_dir)
    try:
        from training.attribution import attribute

        return [_driven(task, attribute(reader, folder, base, text, task)) for task in tasks]
    except ImportError as error:
        raise ModelUnavailable(f"gradients need the training extra ({error}): pip install 'kefu[train]'") from error


def _driven(task: Task, found: Attribution) -> Driven:
    return Driven(
        task=task,
        answer=found.answer,
        effects=found.effects,
        difference=found.difference,
        rest=found.rest,
        gap=found.gap,
    )


# ---- for the terminal ----


def _views(explanation: Explanation) -> Iterator[RenderableType]:
    read = explanation.understanding
    for one in explanation.driven:
        yield _coloured(read.text, one)
        yield _bars(one, explanation.method)
        if one.gap is not None and one.difference is not None and one.rest is not None:
            said = f"the parts and {one.rest:+.2f} elsewhere sum to {one.difference:+.2f}, {one.gap:.1%} off"
            yield Text(f"integrated gradients: {said}", style="dim")
    yield _decision(explanation)


def _coloured(text: str, one: Driven) -> Text:
    strongest = max((abs(effect.effect) for effect in one.effects), default=0.0)
    shown = Text(text)
    for effect in one.effects:
        if strongest and abs(effect.effect) >= FAINT * strongest:
            colour = "green" if effect.effect > 0 else "red"
            weight = "bold " if abs(effect.effect) >= strongest / 2 else ""
            shown.stylize(f"{weight}{colour}", effect.part.start, effect.part.end)
    return Text.assemble(shown, (f"  → {one.answer}", "bold"))


def _bars(one: Driven, method: Method) -> Table:
    strongest = max((abs(effect.effect) for effect in one.effects), default=0.0) or 1.0
    unit = "log-odds" if method == "occlusion" else "logit"
    table = Table(title=f"{one.task}: what drove {one.answer}", title_justify="left")
    table.add_column("part", overflow="fold")
    table.add_column(unit, justify="right")
    table.add_column("", min_width=BAR, no_wrap=True)
    if method == "occlusion":
        table.add_column("left out, it reads", overflow="fold")
    for effect in one.effects:
        bar = Text("█" * round(BAR * abs(effect.effect) / strongest), "green" if effect.effect > 0 else "red")
        cells = [Text(effect.part.text), Text(f"{effect.effect:+.2f}"), bar]
        if method == "occlusion":
            cells.append(Text(effect.without if effect.without and effect.without != one.answer else ""))
        table.add_row(*cells)
    return table


def _decision(explanation: Explanation) -> Table:
    read = explanation.understanding
    ranking = ", ".join(f"{score.name} {score.confidence:.3f}" for score in read.ranking[:SHOWN_INTENTS])
    also = ", ".join(score.name for score in read.also)
    side = "out of scope" if read.is_out_of_scope else "in scope"
    rows = [
        ("intents", ranking),
        ("besides", also),
        ("entities", ", ".join(f"{e.entity}={e.value}" for e in read.entities) or "-"),
        ("sentiment", f"{read.sentiment} {read.sentiment_confidence:.3f}"),
        ("language", read.language),
        ("out of scope", f"{read.out_of_scope_score:.2f}, threshold {explanation.threshold:.2f}: {side}"),
        ("fallback", explanation.fallback or "no: the assistant acts on the intent"),
        ("model", read.model_version),
    ]
    table = Table(show_header=False, box=None)
    for name, value in rows:
        if value:
            table.add_row(Text(name, "bold"), Text(value))
    return table
