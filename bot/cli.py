"""`kefu …`: thin commands, each calls one function elsewhere. Heavy imports stay inside the command that needs them.

Invariant: `kefu --help` imports no model library; every expected error ends as one readable message and exit code 1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from bot import __version__
from bot.commands.brand import brand
from bot.commands.console import Folder, chosen_folder, err, good, out, progress_bar, with_database
from bot.commands.import_rasa import import_rasa
from bot.commands.knowledge import knowledge
from bot.commands.learn import retrain, review, train
from bot.commands.measure import evaluate, explain
from bot.commands.models import models
from bot.commands.outbox import outbox
from bot.commands.privacy import erase
from bot.commands.rasa import rasa
from bot.commands.suggest import suggest
from bot.commands.test import run_test
from bot.commands.wechat import wechat
from bot.errors import KefuError
from bot.settings import STARTER, Settings, assistant_folder, environment, load_settings

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant

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
database = typer.Typer(help="The database's schema.", no_args_is_help=True)
app.add_typer(review, name="review")
app.add_typer(models, name="models")
app.add_typer(database, name="db")
app.add_typer(outbox, name="outbox")
app.add_typer(knowledge, name="knowledge")
app.add_typer(brand, name="brand")
app.add_typer(suggest, name="suggest")
app.add_typer(rasa, name="rasa")
app.add_typer(wechat, name="wechat")


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
    good(str(folder), f" is a {template} assistant in English and 中文. Next:\n")
    steps = {"kefu train": "a minute on one CPU", "kefu chat": "talk to it here", "kefu serve": "and in the browser"}
    out.print(Text(f"  cd {folder}"), soft_wrap=True)
    for command, what in steps.items():
        out.print(f"  {command:<12} # {what}", highlight=False)


@app.command()
def validate(folder: Folder = None) -> None:
    """Check every file of the assistant; print each problem with file, line and what to do."""
    from bot.assistant.loader import read_and_check
    from bot.dialogue.policies import check_dialogue

    root = chosen_folder(load_settings(), folder)
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
    good("ok", f" {root} ({len(problems)} warnings)")


app.command("train")(train)
app.command("evaluate")(evaluate)
app.command("explain")(explain)
app.command("test")(run_test)
app.command("retrain")(retrain)
app.command("import-rasa")(import_rasa)


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
    settings = load_settings(host=host, port=port)
    root = chosen_folder(settings, folder)
    _check_address(settings)
    _run_platform(settings, root, "all", reload=reload, debug=debug)


@app.command()
def web(
    folder: Folder = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default KEFU_HOST or 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; default KEFU_PORT or 8000.")] = None,
) -> None:
    """Only the web half of `kefu serve`: channels in and out, no model. As many as you like on one PostgreSQL."""
    settings = load_settings(host=host, port=port)
    _run_platform(settings, chosen_folder(settings, folder), "web")


@app.command()
def worker(
    folder: Folder = None,
    host: Annotated[str | None, typer.Option(help="Address of /readyz and /metrics; default KEFU_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of /readyz and /metrics; default KEFU_PORT or 8000.")] = None,
) -> None:
    """Only the working half of `kefu serve`: models, decisions, sending. As many as you like on one PostgreSQL."""
    settings = load_settings(host=host, port=port)
    _run_platform(settings, chosen_folder(settings, folder), "worker")


def _run_platform(
    settings: Settings, root: Path, role: Literal["all", "web", "worker"], *, reload: bool = False, debug: bool = False
) -> None:
    import uvloop

    from bot.app import Platform, load_bot, tuning_of
    from bot.app import serve as serve_platform
    from bot.telemetry import configure_logging

    bot = load_bot(root, settings)
    if role == "all" and settings.models is None and _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
        bot = load_bot(root, settings)
    configure_logging()
    platform = Platform.build(settings, bot, debug=debug, role=role, tuning=tuning_of(settings, bot.assistant))

    def ready(state: dict[str, Any]) -> None:
        if role == "all":
            _banner(settings, state, debug=debug)
        else:
            good(f"kefu {role}", f" listens on http://{settings.host}:{settings.port}; health: /readyz, /metrics")

    def tell(text: str) -> None:
        err.print(Text(text), soft_wrap=True)

    uvloop.run(serve_platform(platform, on_ready=ready, reload=tell if reload else None))


def _check_address(settings: Settings) -> None:
    """Before a minute of training: may we listen there? Raises KefuError."""
    import socket

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise KefuError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror or error}); try --host or --port"
        ) from error


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
    """Talk to the assistant in this terminal. A number presses a button; /quit ends. Nothing said here is kept."""
    import logging
    import tempfile

    from bot.app import load_bot
    from bot.terminal import talk

    logging.getLogger("kefu").setLevel(logging.ERROR)
    settings = load_settings()
    root = chosen_folder(settings, folder)
    bot = load_bot(root, settings)
    if _needs_model(settings, bot.assistant.assistant_id):
        _train_beside(settings, bot.assistant.root)
        bot = load_bot(root, settings)
    with tempfile.TemporaryDirectory(prefix="kefu-chat-") as scratch, suppress(KeyboardInterrupt):
        asyncio.run(talk(settings, bot, Path(scratch), debug=debug, out=out))
    out.print()


# ---- operation ----


app.command("erase")(erase)


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
            good(f"{done} is resolved")
            return
        table = Table(
            *(Column(title, overflow="fold") for title in ("since (UTC)", "sender", "channel", "contact", "reason"))
        )
        waiting = await db.read(lambda c: conversations.handoffs(c, name))
        for request in waiting:
            cells = (f"{request.requested_at:%Y-%m-%d %H:%M}", request.sender_id, request.channel)
            table.add_row(*map(Text, (*cells, request.contact or "-", request.reason or "-")))
        out.print(table if waiting else "nobody waits for a person")

    with_database(folder, show)


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
    good("ok", f" {db.place}")


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
