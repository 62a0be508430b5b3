"""`kefu …`: thin commands, each calls one function elsewhere. Heavy imports stay inside the command that needs them.

Invariant: `kefu --help` imports no model library; every expected error ends as one readable message and exit code 1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from bot import __version__
from bot.errors import KefuError
from bot.settings import STARTER, Settings, assistant_folder, environment, load_settings

if TYPE_CHECKING:
    from bot.app import Platform
    from bot.worker import TurnTrace

app = typer.Typer(
    name="kefu",
    help=(
        "Run a customer-service bot from a Rasa-format assistant folder.\n\n"
        "A first day: `kefu init shop`, `cd shop`, `kefu train`, `kefu chat`, `kefu serve`. "
        "Later: `kefu review export`, label, `kefu review import`, `kefu retrain`.\n\n"
        "KEFU_HOME (default .kefu) holds models, database and logs."
    ),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
review = typer.Typer(help="Look at what the bot was unsure of, and teach it.", no_args_is_help=True)
models = typer.Typer(help="Versions of the understanding model: which serves, which served.", no_args_is_help=True)
database = typer.Typer(help="The database's schema.", no_args_is_help=True)
app.add_typer(review, name="review")
app.add_typer(models, name="models")
app.add_typer(database, name="db")

HELD_OUT = "accuracy on held-out training messages; → serves"

out = Console()
err = Console(stderr=True)

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="Assistant folder. Default: KEFU_ASSISTANT, the current folder if it is one, else the starter."
    ),
]


def main() -> None:
    """Entry point: expected errors become one message, not a stack trace."""
    from models.base import ModelError

    try:
        app()
    except (KefuError, ModelError) as error:
        err.print(f"[bold red]kefu:[/] {error}", highlight=False, soft_wrap=True)
        sys.exit(1)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(step, done, total)` drawn as one bar a step (total 0: a spinner)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=not err.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def report(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total or None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield report


# ---- the assistant ----


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")]) -> None:
    """Copy the bilingual starter shop into DIR, to be changed into yours."""
    import shutil

    if folder.exists() and any(folder.iterdir()):
        raise KefuError(f"{folder} is not empty; give a new folder, nothing was copied")
    shutil.copytree(STARTER, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    out.print(f"[bold green]{folder}[/] is a shop assistant in English and 中文. Next:\n")
    steps = {"kefu train": "a minute on one CPU", "kefu chat": "talk to it here", "kefu serve": "and in the browser"}
    out.print(f"  cd {folder}", highlight=False)
    for command, what in steps.items():
        out.print(f"  {command:<12} # {what}", highlight=False)


@app.command()
def validate(folder: Folder = None) -> None:
    """Check every file of the assistant; print each problem with file, line and what to do."""
    from bot.assistant.loader import check_assistant, load_assistant
    from bot.dialogue.policies import check_dialogue

    root = assistant_folder(load_settings(), folder)
    problems = check_assistant(root, environment())
    if not any(problem.level == "error" for problem in problems):
        problems = (*problems, *check_dialogue(load_assistant(root, environment())))
    for problem in problems:
        colour = "red" if problem.level == "error" else "yellow"
        err.print(
            f"[{colour}]{problem.level}[/] {problem.where or root}: {problem.message}", highlight=False, soft_wrap=True
        )
        if problem.hint:
            err.print(f"    {problem.hint}", highlight=False, soft_wrap=True)
    errors = sum(problem.level == "error" for problem in problems)
    if errors:
        err.print(f"[bold red]{errors} errors[/] in {root}")
        raise typer.Exit(1)
    out.print(f"[bold green]ok[/] {root} ({len(problems)} warnings)", highlight=False)


@app.command()
def train(
    folder: Folder = None,
    force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Base model: hub id, folder or known name; default: kefu.yml.")
    ] = None,
) -> None:
    """Train the understanding model from the assistant's files; it serves once it is not worse than today's."""
    from bot import learning
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    assistant = load_assistant(assistant_folder(settings, folder), environment())
    with progress_bar() as progress:
        outcome = learning.train(settings, assistant, force=force, base=base, progress=progress, console=out)
    _print_outcome(outcome)


@app.command()
def evaluate(
    folder: Folder = None,
    task: Annotated[str, typer.Option(help="What to measure: intent.")] = "intent",
    train_file: Annotated[
        Path | None, typer.Option("--train", help="Training file (csv, jsonl, Rasa nlu yml).")
    ] = None,
    test_file: Annotated[Path | None, typer.Option("--test", help="Test file, read once.")] = None,
    oos: Annotated[Path | None, typer.Option("--oos", help="Out-of-scope messages, for the AUROC.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model; default: kefu.yml's.")] = None,
    recipe: Annotated[str, typer.Option(help="Training recipe: quick.")] = "quick",
    seed: Annotated[int, typer.Option(help="Seed of splits and fits.")] = 0,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write the figures here too.")] = None,
) -> None:
    """Measure: the serving model on the assistant's own tests, or (--train --test) a recipe on any data set."""
    if (train_file is None) != (test_file is None):
        raise KefuError("--train and --test belong together; give both, or neither to test the serving model")
    if task != "intent":
        raise KefuError(f"--task {task}: only `intent` can be measured")
    from bot import learning

    settings = load_settings()
    figures: Mapping[str, object]
    with progress_bar() as progress:
        if train_file and test_file:
            figures = learning.evaluate_files(
                settings,
                train_file,
                test_file,
                oos=oos,
                base=base or "all-MiniLM-L6-v2",
                recipe=recipe,
                seed=seed,
                progress=progress,
            )
        else:
            from bot.app import load_bot

            bot = load_bot(assistant_folder(settings, folder))
            figures = learning.evaluate_assistant(settings, bot, progress=progress, console=out)
    table = Table("measure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:.4f}" if isinstance(value, float) else str(value))
    out.print(table)
    if json_out:
        import json

        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _print_outcome(outcome: Any) -> None:
    if outcome.skipped:
        out.print(
            f"nothing changed since version [bold]{outcome.version}[/]; it keeps serving (train anyway: --force)",
            highlight=False,
        )
    elif outcome.promoted:
        out.print(f"[bold green]version {outcome.version} serves now[/]", highlight=False)
    else:
        out.print(
            f"[bold yellow]version {outcome.version} is kept but does not serve[/]: {outcome.reason}\n"
            f"  serve it all the same: kefu models promote {outcome.version}",
            highlight=False,
        )


# ---- talking ----


def _needs_model(settings: Settings, assistant_id: str) -> bool:
    from bot.app import KIND
    from models.registry import Registry

    return Registry(settings.models_dir, assistant_id).current(KIND) is None


def _train_beside(settings: Settings, root: Path) -> None:
    """Train in a process of its own, so that PyTorch never enters the one that serves."""
    import os
    import subprocess

    err.print("no model yet: training one first", highlight=False)
    command = [sys.executable, "-m", "bot.cli", "train", str(root)]
    done = subprocess.run(command, env={**environment(), "KEFU_HOME": str(settings.home)}, check=False)
    if done.returncode:
        raise KefuError(f"training failed ({' '.join(map(os.fspath, command))}); the lines above say why")


@app.command()
def serve(
    folder: Folder = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default KEFU_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default KEFU_PORT or 8000.")] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Follow changes of the assistant's files.")] = False,
    debug: Annotated[
        bool | None,
        typer.Option(help="Let /demo/?debug show why the bot says what it says; default: on loopback only."),
    ] = None,
) -> None:
    """Serve the web chat, REST and the demo shop; trains a first model and migrates SQLite where needed."""
    from bot.app import Platform, load_bot
    from bot.app import serve as serve_platform
    from bot.telemetry import configure_logging

    settings = load_settings(host=host, port=port)
    bot = load_bot(assistant_folder(settings, folder))
    if _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
    configure_logging()
    on_loopback = settings.host in {"127.0.0.1", "::1", "localhost"}
    platform = Platform.build(settings, bot, debug=on_loopback if debug is None else debug)

    def tell(text: str) -> None:
        err.print(text, highlight=False, soft_wrap=True)

    asyncio.run(
        serve_platform(platform, on_ready=lambda state: _banner(settings, state), reload=tell if reload else None)
    )


def _banner(settings: Settings, state: Mapping[str, Any]) -> None:
    url = f"http://{settings.host}:{settings.port}"
    if state["ready"]:
        out.print("\n[bold green]Kefu answers.[/]")
    else:
        reason = state["model"].get("problem") or state["database"]
        out.print(f"\n[bold red]Kefu listens, but cannot answer yet[/]: {reason}", highlight=False, soft_wrap=True)
    out.print(
        f"  demo shop   {url}/demo/        (中文: {url}/demo/?lang=zh, why it says so: {url}/demo/?debug)",
        highlight=False,
        soft_wrap=True,
    )
    out.print(
        f'  embed       <script src="{url}/widget/kefu.js" async></script>',
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    out.print(f"  health      {url}/readyz", highlight=False)
    out.print("  stop        Ctrl-C\n", highlight=False)


@app.command()
def chat(
    folder: Folder = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show intent, ranking, slots, policy and why.")] = False,
) -> None:
    """Talk to the assistant in this terminal. A number presses a button; /quit ends."""
    import logging
    import tempfile

    from bot.app import load_bot

    logging.getLogger("kefu").setLevel(logging.ERROR)
    settings = load_settings()
    bot = load_bot(assistant_folder(settings, folder))
    if _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
    with tempfile.TemporaryDirectory() as scratch:
        asyncio.run(_chat(settings, bot, f"sqlite:///{scratch}/chat.db", debug))


async def _chat(settings: Settings, bot: Any, database_url: str, debug: bool) -> None:
    from bot.app import Platform

    private = settings.model_copy(
        update={"database_url": database_url, "home": Path(database_url.removeprefix("sqlite:///")).parent}
    )
    traces: list[TurnTrace] = []
    from bot.app import KIND
    from models.registry import Registry
    from models.runtime import ServedUnderstander

    served = ServedUnderstander(
        Registry(settings.models_dir, bot.assistant.assistant_id), KIND, threads=settings.inference_threads
    )
    await served.start()
    platform = Platform.build(private, bot, understander=served, observer=traces.append)
    await platform.start()
    try:
        await _chat_loop(platform, traces, debug)
    finally:
        await platform.stop()


async def _chat_loop(platform: Platform, traces: list[TurnTrace], debug: bool) -> None:
    from datetime import UTC, datetime

    from connectors.base import InboundMessage

    payloads: list[str] = []
    number = 0
    while True:
        try:
            text = (await asyncio.to_thread(input, "you> ")).strip()
        except (EOFError, KeyboardInterrupt):
            return
        if text in {"/quit", "/exit"}:
            return
        if not text:
            continue
        if text.isdigit() and 1 <= int(text) <= len(payloads):
            text = payloads[int(text) - 1]
        number += 1
        message = InboundMessage(
            channel="rest",
            account="",
            external_id=f"chat-{number}",
            customer="you",
            sender_id="you",
            text=text,
            received_at=datetime.now(UTC),
            input_channel="cmdline",
        )
        [receipt] = await platform.ports.receive([message])
        replies = await platform.ports.wait_for_reply(receipt.inbound_id, 60.0) or []
        payloads = _print_replies([reply.body for reply in replies])
        if debug and traces:
            _print_trace(traces[-1])


def _print_replies(bodies: list[Any]) -> list[str]:
    """Print Rasa bot messages; returns the payloads of the buttons, in the order of their numbers."""
    payloads: list[str] = []
    for body in bodies:
        if body.get("text"):
            out.print(f"[cyan]bot>[/] {body['text']}", highlight=False, markup=True)
        if body.get("image"):
            out.print(f"[cyan]bot>[/] (image) {body['image']}", highlight=False)
        for button in body.get("buttons") or body.get("quick_replies") or []:
            payloads.append(button.get("payload") or button["title"])
            out.print(f"     [bold]{len(payloads)}[/]  {button['title']}", highlight=False)
    return payloads


def _print_trace(trace: TurnTrace) -> None:
    shown = trace.to_json()
    table = Table(show_header=False, box=None, style="dim")
    ranking = ", ".join(f"{score['name']} {score['confidence']:.2f}" for score in shown["ranking"]) or "(payload)"
    table.add_row("intent", f"{shown['intent']} {shown['confidence']:.2f}   of {ranking}")
    table.add_row("sentiment, language", f"{shown['sentiment']}, {shown['language']}   model {shown['model_version']}")
    table.add_row("entities", ", ".join(f"{e['entity']}={e['value']}" for e in shown["entities"]) or "-")
    table.add_row("slots", ", ".join(f"{name}={value}" for name, value in shown["slots"].items()) or "-")
    for decision in shown["decisions"]:
        table.add_row(decision["action"], f"{decision['policy']} {decision['confidence']:.2f}   {decision['why']}")
    out.print(table)


# ---- learning ----


@review.command("export")
def review_export(
    folder: Folder = None,
    file: Annotated[Path | None, typer.Option("--out", help="JSONL file; default: standard output.")] = None,
    n: Annotated[int, typer.Option(help="How many, at most.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the random part.")] = 0,
) -> None:
    """Write the uncertain, the fallen-back and some random messages as JSONL; fill in `label` and import them."""
    _learn(
        folder,
        lambda learning, settings, assistant, db: learning.export_review(
            db, assistant.assistant_id, file, n=n, seed=seed, console=err
        ),
    )


@review.command("import")
def review_import(
    file: Annotated[Path, typer.Argument(help="JSONL with `label` filled in: an intent's name, or skip.")],
    folder: Annotated[
        Path | None, typer.Option("--assistant", help="Assistant folder, as for the other commands.")
    ] = None,
) -> None:
    """Take labels back. All lines or none: an error names file and line."""

    async def take(learning: Any, settings: Settings, assistant: Any, db: Any) -> None:
        counts = await learning.import_review(db, assistant, file)
        out.print(counts)

    _learn(folder, take)


@app.command()
def retrain(
    folder: Folder = None, force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False
) -> None:
    """Train from the files and the reviewed log; serve the result only if it is not worse than today's."""

    async def run(learning: Any, settings: Settings, assistant: Any, db: Any) -> None:
        with progress_bar() as progress:
            outcome = await learning.retrain(settings, assistant, db, force=force, progress=progress, console=out)
        _print_outcome(outcome)

    _learn(folder, run)


def _learn(folder: Path | None, work: Callable[[Any, Settings, Any, Any], Any]) -> None:
    """Run an async step of the learning loop over the assistant and its database."""
    from bot import learning
    from bot.assistant.loader import load_assistant
    from bot.storage.database import Database

    settings = load_settings()
    assistant = load_assistant(assistant_folder(settings, folder), environment())

    async def run() -> None:
        db = Database.open(settings.database)
        try:
            await asyncio.to_thread(db.upgrade)
            await work(learning, settings, assistant, db)
        finally:
            await db.close()

    asyncio.run(run())


def _registry(folder: Path | None) -> Any:
    from bot.assistant.loader import load_assistant
    from models.registry import Registry

    settings = load_settings()
    assistant = load_assistant(assistant_folder(settings, folder), environment())
    return Registry(settings.models_dir, assistant.assistant_id)


ModelFolder = Annotated[Path | None, typer.Option("--assistant", help="Assistant folder, as for the other commands.")]


@models.command("list")
def models_list(folder: ModelFolder = None) -> None:
    """All versions, newest first, and which one serves."""
    from bot.app import KIND

    registry = _registry(folder)
    current = registry.current(KIND)
    table = Table("", Column("version", no_wrap=True), "base", "recipe", "intent", "sentiment", caption=HELD_OUT)
    for version in reversed(registry.versions(KIND)):
        manifest = registry.manifest(KIND, version)
        figures = (manifest.metrics.get(f"{task}_held_out_accuracy") for task in ("intent", "sentiment"))
        shown = ("-" if figure is None else f"{figure:.1%}" for figure in figures)
        table.add_row("→" if version == current else "", version, manifest.base, manifest.recipe, *shown)
    out.print(table)


@models.command("show")
def models_show(
    version: Annotated[str | None, typer.Argument(help="Default: the one that serves.")] = None,
    folder: ModelFolder = None,
) -> None:
    """A version's model card, and where its folder is."""
    from rich.markdown import Markdown

    from bot.app import KIND

    registry = _registry(folder)
    version = version or registry.current(KIND)
    if version is None:
        raise KefuError("no model yet; run `kefu train`")
    path = registry.path(KIND, version)
    card = path / "MODEL_CARD.md"
    out.print(Markdown(card.read_text(encoding="utf-8")) if card.exists() else registry.manifest(KIND, version))
    out.print(str(path), highlight=False)


@models.command("promote")
def models_promote(version: str, folder: ModelFolder = None) -> None:
    """Let VERSION serve; the running server swaps it in without a restart."""
    from bot.app import KIND

    _registry(folder).promote(KIND, version)
    out.print(f"[bold green]version {version} serves now[/]", highlight=False)


@models.command("rollback")
def models_rollback(folder: ModelFolder = None) -> None:
    """Take the last promotion back; the running server follows."""
    from bot.app import KIND

    version = _registry(folder).rollback(KIND)
    out.print(f"[bold green]version {version} serves again[/]", highlight=False)


# ---- operation ----


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema up to date (`kefu serve` does it itself on SQLite)."""
    from bot.storage.database import Database

    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    db = Database.open(settings.database)
    db.upgrade()
    asyncio.run(db.close())
    out.print(f"[bold green]ok[/] {settings.database.split('@')[-1]}", highlight=False)


@app.command()
def doctor(folder: Folder = None) -> None:
    """Check this machine, the settings and the assistant; list the models' licences."""
    from bot.doctor import examine

    settings = load_settings()
    findings = examine(settings, assistant_folder(settings, folder))
    table = Table("", "check", "found", show_lines=False)
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[red]error[/]", "info": ""}
    for finding in findings:
        table.add_row(marks[finding.level], finding.check, finding.found)
    out.print(table)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(1)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        out.print(f"kefu {__version__}", highlight=False)
        raise typer.Exit


if __name__ == "__main__":
    main()
