"""The steps of a walk played over Rasa's HTTP API against a real `kefu serve` process.

What the process reads is not given: such a walk says everything as `/intent{...}`. Its clock is the real one, so no
customer comes back hours later. What serving does otherwise on purpose (docs/rasa-compatibility.md) is not a step of
such a walk: a paused conversation; and a turn that Rasa does not end is where the comparison ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

from tests.conformance.stage import Outcome, comparable, comparable_state
from tests.server import Server, kefu

Json = dict[str, Any]


class ServedTalks:
    """Conversations with a server at `url`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=60)

    async def play(self, steps: list[Json], sender: str) -> list[Outcome]:
        """One conversation of its own; what each step led to."""
        seen: set[str] = set()
        outcomes: list[Outcome] = []
        for step in steps:
            await self._send(step, sender)
            state = await self._tracker(sender)
            fresh = [event for event in state["events"] if json.dumps(event, sort_keys=True) not in seen]
            seen |= {json.dumps(event, sort_keys=True) for event in fresh}
            outcomes.append(Outcome(events=[comparable(event) for event in fresh], state=comparable_state(state)))
        return outcomes

    async def _send(self, step: Json, sender: str) -> None:
        if step["op"] == "turn":
            body = {"sender": sender, "message": step["text"], "metadata": step.get("metadata")}
            answer = await self._http.post("/webhooks/rest/webhook", json=body)
        elif step["op"] == "append":
            answer = await self._http.post(f"/conversations/{sender}/tracker/events", json=step["events"])
        else:
            body = {"name": step["intent"], "entities": step["entities"]}
            path = f"/conversations/{sender}/trigger_intent?output_channel=latest"
            answer = await self._http.post(path, json=body)
        answer.raise_for_status()

    async def _tracker(self, sender: str) -> Json:
        answer = await self._http.get(f"/conversations/{sender}/tracker", params={"include_events": "ALL"})
        answer.raise_for_status()
        state: Json = answer.json()
        return state

    async def close(self) -> None:
        """Let the connections go."""
        await self._http.aclose()


@contextmanager
def serving(folder: Path, home: Path) -> Iterator[str]:
    """Train the project without what learns from stories, serve it, and give the address.

    `folder` is changed: n-grams read the messages, no machine announces itself, TEDPolicy is gone.
    """
    yaml = YAML(typ="safe", pure=True)
    config = yaml.load(folder / "config.yml")
    config["policies"] = [each for each in config["policies"] if each["name"] != "TEDPolicy"]
    yaml.dump(config, folder / "config.yml")
    (folder / "kefu.yml").write_text("base: ngram\n", encoding="utf-8")
    (folder / "brand.yml").write_text("disclosure: {enabled: false}\n", encoding="utf-8")
    kefu("train", str(folder), home=home)
    server = Server(home=home, assistant=folder).start()
    try:
        yield server.url
    finally:
        server.stop()
