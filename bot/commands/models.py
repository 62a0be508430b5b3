"""`kefu models …`: versions of the understanding model, which serves, which served."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from bot.commands.console import Folder, ModelFolder, chosen_folder, good, out, registry_of
from bot.errors import KefuError
from bot.settings import environment, load_settings, prepare_ray

models = typer.Typer(help="Versions of the understanding model: which serves, which served.", no_args_is_help=True)
HELD_OUT = "accuracy on held-out training messages; → serves"


@models.command("list")
def models_list(folder: ModelFolder = None) -> None:
    """All versions, newest first, and which one serves."""
    from models.base import KIND

    registry = registry_of(folder)
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

    registry = registry_of(folder)
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

    registry_of(folder).promote(KIND, version)
    good(f"version {version} serves now")


@models.command("rollback")
def models_rollback(folder: ModelFolder = None) -> None:
    """Take the last promotion back; the running server follows."""
    from models.base import KIND

    version = registry_of(folder).rollback(KIND)
    good(f"version {version} serves again")


@models.command("serve")
def models_serve(
    folder: Folder = None,
    replicas: Annotated[int, typer.Option(min=1, help="Processes that read messages.")] = 2,
    address: Annotated[
        str | None,
        typer.Option(
            help='Ray cluster to join from one of its nodes, "auto" or host:6379; default: one on this machine alone.'
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address that each node listens on; there is no password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port that KEFU_MODELS=ray://host:port names.")] = 8800,
    threads: Annotated[
        int, typer.Option(min=0, help="Messages that a replica reads beside each other; 0: as KEFU_THREADS says.")
    ] = 0,
) -> None:
    """Serve the model on Ray, for any number of `kefu worker` with KEFU_MODELS; Ctrl-C ends it."""
    from bot.assistant.loader import load_assistant
    from models.serving import Plan, deployed

    settings = load_settings()
    assistant = load_assistant(chosen_folder(settings, folder), environment())
    plan = Plan(
        models_dir=settings.models_dir,
        assistant_id=assistant.assistant_id,
        replicas=replicas,
        threads=threads or settings.inference_threads,
        host=host,
        port=port,
        address=address,
    )
    prepare_ray()
    with suppress(KeyboardInterrupt), deployed(plan):
        # Only now: Ray has taken this signal for itself meanwhile.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        good(f"{replicas} replicas serve", f"; for `kefu worker`: KEFU_MODELS=ray://{host}:{port}")
        while True:  # Ray's own threads may be handed the signal: this one then hears of it a moment later
            time.sleep(1)
    good("stopped")
