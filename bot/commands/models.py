"""`kefu models …`: versions of the understanding model, which serves, which served."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from bot.commands.console import ModelFolder, good, out, registry_of
from bot.errors import KefuError

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
