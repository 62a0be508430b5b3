"""`kefu knowledge …`: what the bot may answer from. Thin: `bot.knowing` does the work."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table
from rich.text import Text

from bot.commands.console import ModelFolder, chosen_folder, err, good, out, progress_bar, with_database
from bot.errors import AssistantError, KefuError
from bot.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from bot.answers.finder import Finder
    from bot.answers.gate import SearchScores
    from bot.answers.knowledge import PassageIndex
    from bot.assistant.loader import Assistant
    from bot.logged_questions import Learnable

knowledge = typer.Typer(
    help="The documents that the bot answers from: `knowledge/` in the assistant's folder (md, html, pdf, docx, csv).",
    no_args_is_help=True,
)
SHOWN_CHARS = 240


@knowledge.command("sync")
def knowledge_sync(folder: ModelFolder = None) -> None:
    """Read the documents; only what changed is read anew. A running server follows within a message."""
    from bot.knowing import sync_knowledge

    settings, assistant = _loaded(folder)
    with progress_bar() as progress:
        report = sync_knowledge(settings, assistant, progress, lambda text: err.print(Text(text), soft_wrap=True))
    languages = ", ".join(f"{name} {count}" for name, count in sorted(report.languages.items()))
    good(
        f"{report.passages} passages of {report.documents} documents",
        f" ({languages}): {report.embedded} read anew, {report.removed} gone",
    )


@knowledge.command("add")
def knowledge_add(
    files: Annotated[list[Path], typer.Argument(help="Documents.", exists=True, dir_okay=False)],
    language: Annotated[
        str | None, typer.Option(help="Put them into this language's folder (en, zh). Default: by their words.")
    ] = None,
    folder: ModelFolder = None,
) -> None:
    """Copy documents into the assistant's `knowledge/` and read them."""
    from bot.answers.documents import LANGUAGES
    from bot.knowing import documents_of

    _, assistant = _loaded(folder)
    target = documents_of(assistant) / language if language else documents_of(assistant)
    if language is not None and language not in LANGUAGES:
        raise AssistantError(f"--language {language}: not a language (en, zh, …)")
    _check_files(files, target)
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.resolve() != (target / file.name).resolve():
            shutil.copy(file, target / file.name)
    knowledge_sync(folder)


def _check_files(files: Sequence[Path], target: Path) -> None:
    """Raises AssistantError for what is not read, and where one document would take another's place."""
    from bot.answers.documents import READERS

    names: set[str] = set()
    for file in files:
        place = target / file.name
        if file.suffix.lower() not in READERS or file.name.startswith((".", "~")):
            raise AssistantError(f"{file}: not a kind of file that is read ({', '.join(READERS)})")
        is_another = place.is_symlink() or (place.exists() and place.read_bytes() != file.read_bytes())
        if is_another or file.name in names:
            raise AssistantError(f"{place} is there already and is another; rename one, or remove the old")
        names.add(file.name)


@knowledge.command("search")
def knowledge_search(
    question: Annotated[str, typer.Argument(help="As a customer would ask.")],
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="How many passages.")] = 5,
    folder: ModelFolder = None,
) -> None:
    """What is found for a question, how sure it is, and what the bot would say."""
    from bot.knowing import finder_that_serves

    if not question.strip():
        raise KefuError('nothing was asked; kefu knowledge search "how long can I send it back?"')
    settings, assistant = _loaded(folder)
    with finder_that_serves(settings, assistant, settings.inference_threads) as finder:
        _show_search(finder, assistant, question, n)


def _show_search(finder: Finder[PassageIndex], assistant: Assistant, question: str, n: int) -> None:
    from bot.answers.compose import compose
    from bot.answers.gate import judge
    from bot.answers.knowledge import today_in
    from bot.answers.service import UNDECIDED
    from models.languages import identify_language

    language = identify_language(question)
    known = None if language == UNDECIDED else language
    found = finder.find(question, limit=n, day=today_in(assistant.config.timezone), language=known)
    hits = found.hits
    table = Table("score", "where", Column("passage", overflow="fold"))
    for hit in hits:
        text = hit.passage.text if len(hit.passage.text) <= SHOWN_CHARS else hit.passage.text[:SHOWN_CHARS] + "…"
        where = f"{hit.passage.source}#{hit.passage.anchor}"
        table.add_row(*map(Text, (f"{hit.score:.3f}", where, text)))
    out.print(table if hits else "no passage is valid today")
    if not hits:
        return
    probability, gate = judge(finder, found)
    is_answered, is_offered = probability >= gate.threshold, probability >= gate.worth_showing
    verdict = "answered" if is_answered else "offered as a choice" if is_offered else "left to the other answers"
    limits = f"answered from {gate.threshold:.2f} on, offered from {gate.worth_showing:.2f}"
    out.print(f"answers it with a probability of {probability:.2f} ({limits}): {verdict}", soft_wrap=True)
    if is_answered:
        spoken = known or hits[0].passage.language
        said = compose(question, found.vector, hits, probability, finder.embedder, spoken, assistant.brand)
        out.print(Text(said.text), soft_wrap=True)


@knowledge.command("evaluate")
def knowledge_evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            help='Questions, one JSON object a line: {"question": …, "passages": ["returns.md#how-long"]}; without '
            "passages: nothing answers it. Not those in `answers/`, which the gate has learned from.",
            exists=True,
            dir_okay=False,
        ),
    ],
    folder: ModelFolder = None,
) -> None:
    """How often the right passage is found, and how often the bot answers what it cannot know."""
    from bot.knowing import evaluate_knowledge

    settings, assistant = _loaded(folder)
    names = ("questions", "n", "R@1", "R@5", "MRR", "answered", "wrong", "none", "anyway")
    caption = "answered, wrong: by the right passage, by another; none: questions without an answer; anyway: answered"
    table = Table(*names, caption=caption)
    for name, found in evaluate_knowledge(settings, assistant, file).items():
        shares = (found.recall_at_1, found.recall_at_5, found.mrr, found.answered, found.wrong)
        cells = [name, str(found.n), *(f"{share:.3f}" for share in shares), str(found.n_none)]
        table.add_row(*cells, f"{found.answered_anyway:.3f}")
    out.print(table)


@knowledge.command("learn")
def knowledge_learn(
    write: Annotated[bool, typer.Option("--write", help="Add them to answers/from_logs.jsonl.")] = False,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only what was said from this day (UTC) on."),
    ] = None,
    folder: ModelFolder = None,
) -> None:
    """What the log teaches: questions whose headings customers chose, that operators answered, that were reviewed.

    Redacted, each once, without what `answers/` have already. `sync` and `tune` learn from what is written.
    """
    from bot.answers.from_logs import FROM_LOGS, append

    async def work(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        found = await _learnable(settings, assistant, db, since)
        _show_learnable(found)
        if not found.questions:
            return
        file = assistant.root / FROM_LOGS
        if write:
            append(file, found.questions)
            good(f"{len(found.questions)} lines added to {file}", "; read them, then: kefu knowledge tune")
        else:
            out.print(f"nothing was written; add them to {file} with --write", soft_wrap=True)

    with_database(folder, work)


async def _learnable(settings: Settings, assistant: Assistant, db: Any, since: datetime | None) -> Learnable:
    from bot.answers.knowledge import today_in
    from bot.answers.service import loaded
    from bot.knowing import NOTHING_READ, fetch_shared
    from bot.logged_questions import learnable

    await asyncio.to_thread(fetch_shared, settings, assistant)
    finder = loaded(settings.knowledge_dir(assistant.assistant_id), settings.inference_threads)
    if finder is None:
        raise KefuError(NOTHING_READ)
    begin = since.replace(tzinfo=UTC) if since else datetime.fromtimestamp(0, UTC)
    return await learnable(db, assistant, finder, begin, today_in(assistant.config.timezone))


def _show_learnable(found: Learnable) -> None:
    table = Table(Column("question", overflow="fold"), Column("answered by", overflow="fold"), "from", "customers", "")
    for each in found.questions:
        where = "\n".join(each.passages) or "no document"
        more = (each.doubt and f"not used: {each.doubt}") or ("with the reply" if each.reply else "")
        table.add_row(*map(Text, (each.question, where, each.origin, str(len(each.customers)), more)))
    out.print(table if found.questions else "the log teaches nothing that answers/ do not say")
    for why, count in sorted(found.left_out.items()):
        out.print(f"left out, {why}: {count}", soft_wrap=True)


class Part(StrEnum):
    """What `tune` trains."""

    FINDER = "finder"
    JUDGE = "judge"
    WRITER = "writer"


@knowledge.command("tune")
def knowledge_tune(
    only: Annotated[
        list[Part] | None,
        typer.Option(help="finder: finds passages; judge: says whether they answer; writer: words the answer."),
    ] = None,
    folder: ModelFolder = None,
) -> None:
    """Learn from the written questions and replies of `answers/`: about an hour for a thousand of them on two cores.

    Finder and judge serve from then on if they do better on questions that they have not learned from; the writer's
    replies are said where kefu.yml says `generation: on`.
    """
    settings, assistant = _loaded(folder)
    for part in only or list(Part):
        _TUNED[part](settings, assistant)


def _tune_finder(settings: Settings, assistant: Assistant) -> None:
    from bot.knowing import tune_knowledge

    with progress_bar() as progress:
        outcome = tune_knowledge(settings, assistant, progress, _say)
    _show_scores(outcome.before, outcome.after)
    if outcome.is_kept:
        good(f"learned from {outcome.trained_on} questions", "; it reads the documents from now on")
    else:
        out.print("it does not find more: the base goes on reading")


def _tune_judge(settings: Settings, assistant: Assistant) -> None:
    from bot.tuning import tune_judge

    with progress_bar() as progress:
        outcome = tune_judge(settings, assistant, progress, _say)
    _show_scores(outcome.before, outcome.after)
    if outcome.is_kept:
        good(f"learned from {outcome.trained_on} pairs", "; it judges what answers from now on")
    else:
        out.print("no more is answered with it: the search goes on without")
    for script, share in outcome.stopped.items():
        languages = "Chinese" if script == "han" else "other languages"
        out.print(f"of false sentences in {languages} that it had not seen it stops {share:.0%}", soft_wrap=True)


def _tune_writer(settings: Settings, assistant: Assistant) -> None:
    from bot.tuning import tune_writer

    with progress_bar() as progress:
        outcome = tune_writer(settings, assistant, progress, _say)
    lost = f"loss a token of held-out replies {outcome.loss_before:.2f} → {outcome.loss_after:.2f}"
    good(
        f"learned from {outcome.trained_on} replies", f"; {lost}; it words answers where kefu.yml says `generation: on`"
    )


_TUNED = {Part.FINDER: _tune_finder, Part.JUDGE: _tune_judge, Part.WRITER: _tune_writer}


def _say(text: str) -> None:
    err.print(Text(text), soft_wrap=True)


def _show_scores(before: SearchScores, after: SearchScores) -> None:
    table = Table("held-out questions", "n", "R@1", "R@5", "MRR", "answered", "wrong", "anyway")
    for name, found in (("before", before), ("tuned", after)):
        shares = (found.recall_at_1, found.recall_at_5, found.mrr, found.answered, found.wrong, found.answered_anyway)
        table.add_row(name, str(found.n), *(f"{share:.3f}" for share in shares))
    out.print(table)


def _loaded(folder: Path | None) -> tuple[Settings, Assistant]:
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    return settings, load_assistant(chosen_folder(settings, folder), environment())
