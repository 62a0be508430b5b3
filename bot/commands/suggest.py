"""`kefu suggest …`: what is suggested to whom, and what other ways of choosing would be worth. Thin."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Column, Table
from rich.text import Text

from bot.commands.console import ModelFolder, chosen_folder, out, with_database
from bot.errors import KefuError
from bot.settings import Settings, environment, load_settings

if TYPE_CHECKING:
    from bot.answers.suggest_value import Interval, Value
    from bot.assistant.loader import Assistant

suggest = typer.Typer(help="Personal suggestions: `suggestions:` in kefu.yml.", no_args_is_help=True)
SEED = 7
LITTLE_COVERAGE = 0.9
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@suggest.command("show")
def suggest_show(
    text: Annotated[str, typer.Argument(help="What a customer wrote last.")],
    customer: Annotated[
        str | None, typer.Option("--customer", help="Who they are in the orders: an e-mail address, a number, an id.")
    ] = None,
    as_json: Json = False,
    folder: ModelFolder = None,
) -> None:
    """What a customer who writes this would be shown, and why."""
    from bot.app import knowledge_of, suggestions_of
    from bot.assistant.loader import load_assistant
    from bot.suggesting import Said, reason
    from models.languages import identify_language

    settings = load_settings()
    assistant = load_assistant(chosen_folder(settings, folder), environment())
    if assistant.config.suggestions is None:
        raise KefuError("suggestions are off; kefu.yml turns them on (`suggestions:`, see docs/suggestions.md)")
    language = identify_language(text)
    language = assistant.language if language == "und" else language
    suggestions = suggestions_of(settings, assistant, knowledge_of(settings, assistant))
    found = suggestions.suggest([text], [customer] if customer else [], language, seed=str(SEED))
    shown = [
        {**asdict(each.evidence), "name": each.item.name(language), "propensity": each.propensity}
        | {"why": reason(each, [Said(text=text)], language)}
        for each in (found.shown if found else ())
    ]
    if as_json:
        typer.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    table = Table("thing", Column("why", overflow="fold"), "asked", "together", "popular", "propensity")
    for one in shown:
        figures = (f"{one[name]:.2f}" for name in ("asked", "together", "popular", "propensity"))
        table.add_row(Text(one["name"]), Text(one["why"]), *figures)
    out.print(table if shown else "nothing is left to suggest")


@suggest.command("evaluate")
def suggest_evaluate(
    reward: Annotated[
        Literal["click", "purchase"],
        typer.Option(help="A pressed card, or an order within two weeks by a customer whom the orders know."),
    ] = "click",
    as_json: Json = False,
    folder: ModelFolder = None,
) -> None:
    """From the logged showings: what other ways of choosing would have been worth, with 95 % intervals."""
    from bot.answers.suggest_value import evaluate
    from bot.suggestion_log import POLICIES, read_showings

    async def work(_: Any, settings: Settings, assistant: Assistant, db: Any) -> None:
        import numpy as np

        showings = await read_showings(db, assistant, reward)
        if not showings:
            raise KefuError("nothing was suggested yet, or to nobody whom the orders know; there is nothing to judge")
        values = {name: evaluate(showings, each, np.random.default_rng(SEED)) for name, each in POLICIES.items()}
        if as_json:
            typer.echo(json.dumps({name: asdict(value) for name, value in values.items()}, indent=1))
        else:
            _print_values(values, reward)

    with_database(folder, work)


def _print_values(values: dict[str, Value], reward: str) -> None:
    logged = next(iter(values.values()))
    out.print(f"{logged.n} showings, {_shown(logged.logged)} {reward}s each as they were chosen", highlight=False)
    table = Table("chosen by", "weighted (IPS)", "self-normalised", "coverage", "worth as many showings")
    for name, value in values.items():
        figures = (f"{value.coverage:.2f}", f"{value.effective_n:.0f}")
        table.add_row(name, _shown(value.ips), _shown(value.snips), *figures)
    out.print(table)
    if min(value.coverage for value in values.values()) < LITTLE_COVERAGE:
        out.print(
            "coverage far below 1: these showings were never tried often enough to judge that policy; "
            "`explore` in kefu.yml lets chance try them",
            soft_wrap=True,
        )


def _shown(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f}–{interval.high:.3f})"
