"""`kefu …`: thin commands, each calls one function elsewhere. Heavy imports stay inside the command that needs them.

Invariant: `kefu --help` imports no model library; every expected error ends as one readable message and exit code 1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from bot import __version__
from bot.commands.import_rasa import import_rasa
from bot.commands.rasa import rasa
from bot.commands.test import run_test
from bot.errors import KefuError
from bot.settings import STARTER, Settings, assistant_folder, environment, load_settings

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant
    from bot.storage.predictions import LabelledText

app = typer.Typer(
    name="kefu",
    help=(
        "Run a customer-service bot from a Rasa-format assistant folder.\n\n"
        "A first day: `kefu init shop`, `cd shop`, `kefu train`, `kefu chat`, `kefu serve`. "
        "Later: `kefu review export`, label, `kefu review import`, `kefu retrain`.\n\n"
        "KEFU_HOME (default .kefu) holds models and database."
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
app.add_typer(rasa, name="rasa")
app.command("import-rasa")(import_rasa)
app.command("test")(run_test)

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
        said = str(error)
    except OSError as error:
        said = _as_sentence(error)
    else:
        return
    err.print(Text.assemble(("kefu:", "bold red"), f" {said}"), soft_wrap=True)
    sys.exit(1)


def _as_sentence(error: OSError) -> str:
    """A full disk, a folder that may not be written, a file in a folder's place."""
    if error.filename is None:
        return f"the system refused: {error.strerror or error}"
    return (
        f"{error.filename}: {error.strerror}; is the path right, and may this user read and write there? "
        "(KEFU_HOME names the folder where Kefu keeps its own files)"
    )


def _good(what: str, rest: str = "") -> None:
    """Print that something went well; neither part is read as markup."""
    out.print(Text.assemble((what, "bold green"), rest), soft_wrap=True)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A callback `(step, done, total)` drawn as one bar a step (total 0: a spinner)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
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


# Trade → folder of `kefu init --template`.
TEMPLATES = {"shop": STARTER, **{trade: STARTER.parent / "templates" / trade for trade in ("bank", "clinic")}}


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.", metavar="DIR")],
    template: Annotated[
        Literal["shop", "bank", "clinic"],
        typer.Option(
            help="shop: orders, returns, products of an online shop. "
            "bank: finance questions, card dispute, lost card, mood. "
            "clinic: front desk; symptom to department, appointments, emergencies."
        ),
    ] = "shop",
) -> None:
    """Copy a bilingual assistant into DIR, to be changed into yours: a shop's, a bank's or a clinic's front desk."""
    import shutil

    if folder.exists() and not folder.is_dir():
        raise KefuError(f"{folder} is a file; give a new folder, nothing was copied")
    if folder.exists() and any(folder.iterdir()):
        raise KefuError(f"{folder} is not empty; give a new folder, nothing was copied")
    shutil.copytree(TEMPLATES[template], folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    _good(str(folder), f" is a {template} assistant in English and 中文. Next:\n")
    steps = {"kefu train": "a minute on one CPU", "kefu chat": "talk to it here", "kefu serve": "and in the browser"}
    out.print(Text(f"  cd {folder}"), soft_wrap=True)
    for command, what in steps.items():
        out.print(f"  {command:<12} # {what}", highlight=False)


@app.command()
def validate(folder: Folder = None) -> None:
    """Check every file of the assistant; print each problem with file, line and what to do."""
    from bot.assistant.loader import read_and_check
    from bot.dialogue.policies import check_dialogue

    root = assistant_folder(load_settings(), folder)
    with progress_bar() as progress:
        assistant, problems = read_and_check(root, environment(), progress)
        if assistant is not None:
            progress("compare rules and stories", 0, 0)
            problems = (*problems, *check_dialogue(assistant))
    for problem in problems:
        colour = "red" if problem.level == "error" else "yellow"
        err.print(
            Text.assemble((problem.level, colour), f" {problem.where or root}: {problem.message}"), soft_wrap=True
        )
        if problem.hint:
            err.print(Text(f"    {problem.hint}"), soft_wrap=True)
    errors = sum(problem.level == "error" for problem in problems)
    if errors:
        err.print(Text.assemble((f"{errors} errors", "bold red"), f" in {root}"), soft_wrap=True)
        raise typer.Exit(1)
    _good("ok", f" {root} ({len(problems)} warnings)")


@app.command()
def train(
    folder: Folder = None,
    force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Base model: hub id, folder or known name; default: kefu.yml.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="quick (seconds), full (minutes, better), small (full, faster to serve), few-shot or lora; default: kefu.yml.")
    ] = None,
) -> None:
    """Train from the files and the labels reviewed so far; serve the result if it is not worse than today's."""
    from bot import learning
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    with progress_bar() as progress:
        assistant = load_assistant(assistant_folder(settings, folder), environment(), progress)
        labels = _labels(settings, assistant)
        outcome = learning.train(
            settings, assistant, labels=labels, force=force, base=base, recipe=recipe, progress=progress, console=out
        )
    _print_outcome(outcome)


def _labels(settings: Settings, assistant: Assistant) -> Sequence[LabelledText]:
    """The reviewed labels, so that `train` never unlearns what `retrain` learned; none before there is a database."""
    from bot.storage import predictions
    from bot.storage.database import Database

    db = Database.open(settings.database)
    if db.dialect == "sqlite" and not Path(db.place).exists():
        db.dispose()
        return []

    async def read() -> Sequence[LabelledText]:
        try:
            await asyncio.to_thread(db.upgrade)
            return await db.read(lambda c: predictions.labels(c, assistant.assistant_id))
        finally:
            await db.close()

    return asyncio.run(read())


@app.command()
def evaluate(
    folder: Folder = None,
    task: Annotated[str, typer.Option(help="What is measured on files: intent or sentiment.")] = "intent",
    train_file: Annotated[
        Path | None, typer.Option("--train", help="csv, tsv, jsonl, Rasa NLU yml, or CLINC's json with all splits.")
    ] = None,
    test_file: Annotated[Path | None, typer.Option("--test", help="Test file, read once.")] = None,
    oos: Annotated[Path | None, typer.Option("--oos", help="Out-of-scope messages, for the AUROC.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: hub id, folder or known name.")] = None,
    recipe: Annotated[str, typer.Option(help="Training recipe.")] = "quick",
    seeds: Annotated[str, typer.Option("--seeds", "--seed", help="Seeds of splits and fits: 0,1,2.")] = "0",
    shots: Annotated[int | None, typer.Option(help="Learn from so many examples of each label.", min=2)] = None,
    draws: Annotated[int, typer.Option(help="Draw them so many times.", min=1)] = 3,
    folds: Annotated[int | None, typer.Option(help="Cross-validate the training file.", min=2)] = None,
    baseline: Annotated[str | None, typer.Option(help="tfidf: character n-grams alone beside, as the floor.")] = None,
    json_out: Annotated[Path | None, typer.Option("--json", help="Write everything here too.")] = None,
) -> None:
    """Measure: the serving model on the assistant's own tests, or (--train) a recipe on any data set."""
    if train_file is None and (test_file or oos or shots or folds or baseline):
        raise KefuError(
            "--test, --oos, --shots, --folds and --baseline belong to --train FILE; without it, the serving model is "
            "tested on the assistant's own files"
        )
    if task not in ("intent", "sentiment"):
        raise KefuError(f"--task {task}: intent or sentiment can be measured")
    if baseline not in (None, "tfidf"):
        raise KefuError(f"--baseline {baseline}: only tfidf is there")
    if not all(part.strip().isdecimal() for part in seeds.split(",")):
        raise KefuError(f"--seeds {seeds}: whole numbers joined by commas, such as 0,1,2")
    from bot import evaluation

    settings = load_settings()
    if train_file is None:
        from bot.assistant.loader import load_assistant

        assistant = load_assistant(assistant_folder(settings, folder), environment())
        with progress_bar() as progress:
            report = evaluation.evaluate_assistant(settings, assistant, progress=progress, console=out)
        shown, found = evaluation.assistant_tables(report), report.as_json()
    else:
        from training.experiment import Plan

        plan = Plan(
            task="sentiment" if task == "sentiment" else "intent",
            seeds=tuple(int(part) for part in seeds.split(",")),
            shots=shots,
            draws=draws,
            folds=folds,
            baseline=baseline is not None,
        )
        with progress_bar() as progress:
            experiment = evaluation.evaluate_files(
                settings,
                train_file,
                test_file,
                oos=oos,
                base=base or evaluation.BASE,
                recipe=recipe,
                plan=plan,
                progress=progress,
            )
        shown, found = evaluation.experiment_tables(experiment), experiment.as_json()
    for part in shown:
        out.print(part)
    if json_out:
        evaluation.write_json(json_out, found)


@app.command()
def explain(
    text: Annotated[str, typer.Argument(help="What a customer wrote.")],
    folder: Annotated[
        Path | None, typer.Option("--assistant", help="Assistant folder, as for the other commands.")
    ] = None,
    sentiment: Annotated[bool, typer.Option("--sentiment", help="Explain the mood too.")] = False,
    method: Annotated[
        str, typer.Option(help="occlusion (words left out, quick) or gradients (needs kefu[train]).")
    ] = "occlusion",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    page: Annotated[Path | None, typer.Option("--html", help="Write it as a web page too.")] = None,
) -> None:
    """Show which words drove the serving model's answer, and why the assistant acts on it or falls back."""
    if method not in ("occlusion", "gradients"):
        raise KefuError(f"--method {method}: occlusion or gradients")
    from bot import explaining
    from bot.assistant.loader import load_assistant

    settings = load_settings()
    assistant = load_assistant(assistant_folder(settings, folder), environment())
    explanation = explaining.explain(
        settings,
        assistant,
        text,
        method="gradients" if method == "gradients" else "occlusion",
        sentiment=sentiment,
    )
    if as_json:
        import json

        typer.echo(json.dumps(explanation.as_json(), ensure_ascii=False, indent=1))
    else:
        out.print(explaining.explanation_view(explanation))
    if page:
        explaining.write_page(explanation, page)


def _print_outcome(outcome: Any) -> None:
    if outcome.skipped:
        out.print(
            f"nothing changed since version [bold]{outcome.version}[/]; it keeps serving (train anyway: --force)",
            highlight=False,
        )
    elif outcome.promoted:
        _good(f"version {outcome.version} serves now")
    else:
        kept = (f"version {outcome.version} is kept but does not serve", "bold yellow")
        remedy = f"\n  serve it all the same: kefu models promote {outcome.version}"
        out.print(Text.assemble(kept, f": {outcome.reason}{remedy}"), soft_wrap=True)


# ---- talking ----


def _needs_model(settings: Settings, assistant_id: str) -> bool:
    from models.base import KIND
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
        bool, typer.Option("--debug", help="Let /demo/?debug show a visitor why the bot said what it said.")
    ] = False,
) -> None:
    """Serve the web chat, REST and the demo shop; trains a first model and migrates SQLite where needed."""
    import uvloop

    from bot.app import Platform, load_bot
    from bot.app import serve as serve_platform
    from bot.telemetry import configure_logging

    settings = load_settings(host=host, port=port)
    root = assistant_folder(settings, folder)
    bot = load_bot(root, settings)
    if _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
        bot = load_bot(root, settings)
    configure_logging()
    platform = Platform.build(settings, bot, debug=debug)

    def tell(text: str) -> None:
        err.print(Text(text), soft_wrap=True)

    uvloop.run(
        serve_platform(
            platform, on_ready=lambda state: _banner(settings, state, debug=debug), reload=tell if reload else None
        )
    )


def _banner(settings: Settings, state: Mapping[str, Any], *, debug: bool) -> None:
    url = f"http://{settings.host}:{settings.port}"
    why = f", why it says so: {url}/demo/?debug" if debug else ""
    if state["ready"]:
        engine = state.get("rasa")
        decides = f" Rasa {engine['version']} at {engine['url']} decides." if engine else ""
        out.print(Text.assemble("\n", ("Kefu answers.", "bold green"), decides), soft_wrap=True)
    else:
        reason = state.get("rasa", {}).get("problem") or state["model"].get("problem") or state["database"]
        out.print(
            Text.assemble("\n", ("Kefu listens, but cannot answer yet", "bold red"), f": {reason}"), soft_wrap=True
        )
    out.print(
        f"  demo shop   {url}/demo/        (中文: {url}/demo/?lang=zh{why})",
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
    from bot.terminal import talk

    logging.getLogger("kefu").setLevel(logging.ERROR)
    settings = load_settings()
    root = assistant_folder(settings, folder)
    bot = load_bot(root, settings)
    if _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
        bot = load_bot(root, settings)
    with tempfile.TemporaryDirectory(prefix="kefu-chat-") as scratch, suppress(KeyboardInterrupt):
        asyncio.run(talk(settings, bot, Path(scratch), debug=debug, out=out))
    out.print()


# ---- learning ----


@review.command("export")
def review_export(
    folder: Folder = None,
    file: Annotated[Path | None, typer.Option("--out", help="JSONL file; default: standard output.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", help="How many, at most.", min=1)] = 200,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Only messages from this day (UTC) on."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random part.")] = 0,
) -> None:
    """Write the uncertain, the fallen-back and some random messages as JSONL; fill in `label` and import them."""
    _learn(
        folder,
        lambda learning, settings, assistant, db: learning.export_review(
            db, assistant.assistant_id, file, n=n, since=since and since.replace(tzinfo=UTC), seed=seed, console=err
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

    async def take(learning: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        counts = await learning.import_review(db, assistant, file)
        out.print(counts)

    _learn(folder, take)


@app.command()
def retrain(
    folder: Folder = None, force: Annotated[bool, typer.Option(help="Train even where nothing changed.")] = False
) -> None:
    """Train from the files and the reviewed log; serve the result only if it is not worse than today's."""

    async def run(learning: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
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
    from models.base import KIND

    registry = _registry(folder)
    current = registry.current(KIND)
    table = Table("", Column("version", no_wrap=True), "base", "recipe", "intent", "sentiment", caption=HELD_OUT)
    for version in reversed(registry.versions(KIND)):
        manifest = registry.manifest(KIND, version)
        figures = (manifest.metrics.get(f"{task}_held_out_accuracy") for task in ("intent", "sentiment"))
        shown = ("-" if figure is None else f"{figure:.1%}" for figure in figures)
        table.add_row("→" if version == current else "", version, Text(manifest.base), Text(manifest.recipe), *shown)
    out.print(table)


@models.command("show")
def models_show(
    version: Annotated[str | None, typer.Argument(help="Default: the one that serves.")] = None,
    folder: ModelFolder = None,
) -> None:
    """A version's model card, and where it lies with its pictures."""
    from rich.markdown import Markdown

    from models.base import KIND

    registry = _registry(folder)
    version = version or registry.current(KIND)
    if version is None:
        raise KefuError("no model yet; run `kefu train`")
    path = registry.path(KIND, version)
    card = path / "MODEL_CARD.md"
    out.print(Markdown(card.read_text(encoding="utf-8")) if card.exists() else registry.manifest(KIND, version))
    out.print(Text(str(card if card.exists() else path)), soft_wrap=True)


@models.command("promote")
def models_promote(version: str, folder: ModelFolder = None) -> None:
    """Let VERSION serve; the running server swaps it in without a restart."""
    from models.base import KIND

    _registry(folder).promote(KIND, version)
    _good(f"version {version} serves now")


@models.command("rollback")
def models_rollback(folder: ModelFolder = None) -> None:
    """Take the last promotion back; the running server follows."""
    from models.base import KIND

    version = _registry(folder).rollback(KIND)
    _good(f"version {version} serves again")


# ---- operation ----


@app.command()
def handoffs(
    folder: Folder = None,
    done: Annotated[
        str | None, typer.Option("--done", metavar="SENDER_ID", help="A person took care of this one: take it off.")
    ] = None,
) -> None:
    """List who asked for a person and still waits, the latest first, with the contact they left."""
    from bot.storage import conversations

    async def show(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        name = assistant.assistant_id
        if done is not None:
            if not await db.write(lambda c: conversations.settle_handoff(c, name, done, datetime.now(UTC))):
                raise KefuError(f"no conversation '{done}' waits for a person; `kefu handoffs` lists those that do")
            _good(f"{done} is resolved")
            return
        table = Table(
            *(Column(title, overflow="fold") for title in ("since (UTC)", "sender", "channel", "contact", "reason"))
        )
        waiting = await db.read(lambda c: conversations.handoffs(c, name))
        for request in waiting:
            cells = (f"{request.requested_at:%Y-%m-%d %H:%M}", request.sender_id, request.channel)
            table.add_row(*map(Text, (*cells, request.contact or "-", request.reason or "-")))
        out.print(table if waiting else "nobody waits for a person")

    _learn(folder, show)


@database.command("upgrade")
def db_upgrade() -> None:
    """Bring the database's schema up to date (`kefu serve` does it itself on SQLite)."""
    from bot.storage.database import Database

    settings = load_settings()
    db = Database.open(settings.database)
    try:
        db.upgrade()
    finally:
        db.dispose()
    _good("ok", f" {db.place}")


@app.command()
def doctor(folder: Folder = None) -> None:
    """Check this machine, the settings and the assistant; list the models' licences."""
    from bot.doctor import examine

    settings = load_settings()
    findings = examine(settings, assistant_folder(settings, folder))
    table = Table("", "check", "found", show_lines=False)
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "error": "[red]error[/]", "info": ""}
    for finding in findings:
        table.add_row(marks[finding.level], Text(finding.check), Text(finding.found))
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
