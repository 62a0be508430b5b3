"""What our own models make of the typed messages in the conversations recorded from Rasa; results/traces.json.

python -m tests.bench.bench_traces [--recipe quick]

`tests/integration/test_traces.py` replays the recordings with what Rasa's model read, so that only dialogue differs.
Here each typed message is read by a version that `kefu train` made from the bot's own files, and its turn is played a
second time from the same state: is the intent Rasa's, are the entities, does the customer get the same answers? What
TED decided is taken from the recording. Needs $KEFU_RASA (default ../shared/rasa).
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from bot import learning
from bot.assistant.loader import load_assistant
from bot.dialogue.manager import Turn, UserMessage
from bot.dialogue.parsing import to_parse_data
from models.base import KIND
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests.bench.bench_starter import replace_home
from tests.bench.report import write
from tests.integration.test_traces import RASA, TESTS, Stage, _example


def trained(folder: Path, home: Path, cache: Path, recipe: str) -> TrainedUnderstander:
    """The version that `kefu train` makes of the bot in `folder`."""
    home.mkdir()
    cache.mkdir(exist_ok=True)
    settings, assistant = replace_home(home, cache), load_assistant(folder, {})
    learning.train(settings, assistant, promote="always", recipe=recipe, console=Console(quiet=True))
    registry = Registry(settings.models_dir, assistant.assistant_id)
    version = registry.current(KIND)
    assert version is not None
    return load_understander(registry.path(KIND, version), 2)


def answers(outcome: Turn) -> list[Any]:
    return [message.body for message in outcome.messages]


def entities(parse_data: dict[str, Any]) -> list[tuple[Any, ...]]:
    return sorted(
        (e["entity"], str(e["value"]), e.get("role") or "", e.get("group") or "") for e in parse_data["entities"]
    )


async def read_beside(stage: Stage, reader: TrainedUnderstander, trace: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a typed message; the conversation goes on as Rasa's did."""
    assistant, rows = stage.model.assistant, []
    for recorded in trace["turns"]:
        given = recorded["input"]
        if "inject" in given:
            stage.inject(given["inject"])
        elif "trigger_intent" in given:
            await stage.trigger(given["trigger_intent"], recorded["events"])
        elif "user" in given:
            text = given["user"]
            before, rng = copy.deepcopy(stage.tracker), copy.deepcopy(stage.rng)
            theirs = await stage.say(text, recorded["events"], given.get("metadata"))
            if text.startswith("/"):
                continue
            after, after_rng = stage.tracker, stage.rng
            stage.tracker, stage.rng = before, rng
            parse_data = to_parse_data(reader.read([text])[0], assistant.fallback, assistant.domain)
            message = UserMessage(
                text=text, parse_data=parse_data, input_channel="rest", message_id="again", metadata={}
            )
            ours = await stage._turn(message, recorded["events"])
            stage.tracker, stage.rng = after, after_rng
            user = next(event for event in recorded["events"] if event["event"] == "user")
            rows.append(
                {
                    "trace": trace["name"],
                    "text": text,
                    "rasa": [user["intent"], entities({"entities": user.get("entities", [])})],
                    "kefu": [parse_data["intent"]["name"], entities(parse_data)],
                    "same_intent": user["intent"] == parse_data["intent"]["name"],
                    "same_entities": entities({"entities": user.get("entities", [])}) == entities(parse_data),
                    "same_answers": answers(theirs) == answers(ours),
                }
            )
    return rows


async def of_bot(folder: Path, reader: TrainedUnderstander, traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for trace in traces:
        stage = Stage(folder)
        try:
            rows += await read_beside(stage, reader, trace)
        finally:
            await stage.actions.close()
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--recipe", default="quick")
    recipe = options.parse_args().recipe
    if not (RASA / "traces").is_dir():
        options.error(f"no traces in {RASA}; set KEFU_RASA")
    by_bot: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((RASA / "traces").glob("*.json")):
        trace = json.loads(path.read_text(encoding="utf-8"))
        by_bot.setdefault(trace["bot"], []).append(trace)
    rows = []
    with tempfile.TemporaryDirectory(prefix="kefu-bench-") as scratch:
        for bot, traces in by_bot.items():
            folder = TESTS / "bots" / bot if bot == "labbot" else _example(bot, Path(scratch))
            reader = trained(folder, Path(scratch) / f"home-{bot}", Path(scratch) / "bases", recipe)
            rows += asyncio.run(of_bot(folder, reader, traces))
    counts = {name: sum(row[name] for row in rows) for name in ("same_intent", "same_entities", "same_answers")}
    write("traces", {"recipe": recipe, "typed_messages": len(rows), **counts, "rows": rows}, targets={})


if __name__ == "__main__":
    main()
