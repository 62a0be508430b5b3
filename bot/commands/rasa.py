"""`kefu rasa …`: Rasa 3.6 in an environment of its own. Thin: `bot.rasa.environment` and `.supervisor` do the work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

rasa = typer.Typer(
    help="Rasa 3.6 itself, beside Kefu: set it up, train and serve a project with it.", no_args_is_help=True
)
out = Console()

Project = Annotated[Path, typer.Argument(help="Rasa project: the folder with domain and config.yml.")]
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _say(line: str) -> None:
    out.print(Text(line), soft_wrap=True)


@rasa.command("setup")
def setup_rasa(
    python: Annotated[
        Path | None,
        typer.Option("--python", help="Use this interpreter, whose environment has rasa 3 already; it stays as it is."),
    ] = None,
) -> None:
    """Build an environment with rasa 3.6.21 under KEFU_HOME (2.7 GB; your own Python stays as it is)."""
    from bot.rasa.environment import setup
    from bot.settings import load_settings

    done = setup(load_settings().home, _say, python=python)
    _say(f"rasa {done.rasa_version} on Python {done.python_version}: {done.python}")


@rasa.command("train", context_settings=PASSED_ON)
def train_rasa(context: typer.Context, folder: Project = Path()) -> None:
    """Run `rasa train` in FOLDER; further options go to it as they are."""
    from bot.rasa.environment import required, train
    from bot.settings import environment, load_settings

    train(required(load_settings().home), folder.expanduser().absolute(), context.args, environment())


@rasa.command("serve")
def serve_rasa(
    folder: Project = Path(),
    port: Annotated[int, typer.Option(help="Rasa's port, on this machine only.")] = 5005,
    actions_port: Annotated[int, typer.Option(help="The action server's port, where endpoints.yml names none.")] = 5055,
    token: Annotated[str | None, typer.Option(help="Rasa's auth token (visible in the list of processes).")] = None,
) -> None:
    """Run a Rasa server and, if FOLDER has actions, its action server, until Ctrl-C."""
    import asyncio

    asyncio.run(_serve(folder.expanduser().absolute(), port, actions_port, token))


async def _serve(project: Path, port: int, actions_port: int, token: str | None) -> None:
    import asyncio
    import signal

    from bot.rasa.environment import required
    from bot.rasa.supervisor import Supervisor, forget_serving, note_serving, programs
    from bot.settings import environment, load_settings

    home = load_settings().home
    wanted = programs(required(home), project, home, port=port, actions_port=actions_port, token=token)
    supervisor = Supervisor(project, environment(), _say)
    for kind in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(kind, supervisor.stop)
    note_serving(home, project, wanted)
    try:
        await supervisor.run(wanted, lambda: _say(f"Rasa serves at http://127.0.0.1:{port} (kefu.yml: rasa_url)"))
    finally:
        forget_serving(home)


@rasa.command("status")
def rasa_status() -> None:
    """Say what is installed and what runs."""
    from bot.rasa.environment import installed, probe
    from bot.rasa.supervisor import answers, serving
    from bot.settings import load_settings

    home = load_settings().home
    found, running = installed(home), serving(home)
    table = Table("", "", show_header=False, box=None)
    if found is None:
        _row(table, "environment", "not set up; run `kefu rasa setup`")
    else:
        alive = probe(found.python)
        version = alive.rasa_version if alive else None
        _row(
            table, "environment", f"rasa {version or 'is gone; run `kefu rasa setup`'} on Python {found.python_version}"
        )
        _row(table, "interpreter", f"{found.python} ({found.made_by})")
    if running is None:
        _row(table, "server", "`kefu rasa serve` does not run with this KEFU_HOME")
    else:
        _row(table, "project", running.project)
        _row(table, "server", f"{running.url} ({_answering(answers(running.url))}), since {running.since}")
        _row(table, "actions", running.actions_url or "none of its own")
    out.print(table)


def _answering(version: str | None) -> str:
    return f"rasa {version}" if version else "does not answer yet"


def _row(table: Table, *cells: Any) -> None:
    table.add_row(*(Text(str(cell), overflow="fold") for cell in cells))
