"""Conversations recorded from Rasa 3.6.21, played over HTTP as the recorder played them: events, answers, state.

What the model read is taken from the recording. Which traces differ, and why, is said in docs/rasa-compatibility.md.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab, Read, Reader, running

TRACES = Path(__file__).parent.parent / "traces"
# A learned policy decided in these, or a turn that leaves the customer without an answer was not repeated.
OTHERWISE = {
    *("checkpoint_quick", "conv_start", "core_fallback", "slot_branch_gold", "slot_branch_silver"),
    *("transfer_validate_stops", "action_limit", "pause", "revert_action"),
}
SAME = sorted(name for path in TRACES.glob("labbot_*.json") if (name := path.stem[len("labbot_") :]) not in OTHERWISE)
_IDS = ("message_id", "text_tokens")
_KEPT = ("entity", "value", "role", "group")


def readings(trace: dict[str, Any]) -> dict[str, Read]:
    """What Rasa's model read in each text of the recording, the intent behind a fallback included."""
    told = {}
    for turn in trace["turns"]:
        asked = [str(event.get("text")) for event in turn["events"] if event["event"] == "bot"]
        behind = [text.split("'")[1] for text in asked if text.startswith("Did you mean '")]
        for event in turn["events"]:
            if event["event"] == "user" and event.get("intent"):
                runner_up = behind[0] if behind else "deny"
                told[event["text"]] = Read(
                    intent=event["intent"], entities=event.get("entities", ()), runner_up=runner_up
                )
    for turn in trace["turns"]:
        if "parse" in turn:  # it tells more than an event does: where the entities stand
            told[turn["input"]["parse"]] = Read(intent=turn["parse"]["intent"], entities=turn["parse"]["entities"])
    return told


class Recorder:
    """One conversation over HTTP; `play` gives what the recorder wrote of a turn."""

    def __init__(self, lab: Lab, sender: str) -> None:
        self._http, self._ports, self._sender = lab.http, lab.platform.ports, sender
        self._seen: set[str] = set()

    async def play(self, given: dict[str, Any]) -> dict[str, Any]:
        turn: dict[str, Any] = {"input": given}
        if "user" in given:
            body = {"sender": self._sender, "message": given["user"], "metadata": given.get("metadata")}
            turn["responses"] = _without_recipient(await self._post("/webhooks/rest/webhook", body))
        elif "inject" in given:
            answer = await self._http.post(self._path("tracker/events"), json=[_dated(e) for e in given["inject"]])
            turn["status"] = answer.status_code
        elif "trigger_intent" in given:
            path = self._path("trigger_intent?output_channel=latest")
            answer = await self._http.post(path, json=given["trigger_intent"])
            turn |= {"status": answer.status_code, "responses": _without_recipient(answer.json()["messages"])}
        elif "parse" in given:
            read = await self._post("/model/parse", {"text": given["parse"]})
            kept = (*_KEPT, "start", "end")
            entities = [{key: entity[key] for key in kept if key in entity} for entity in read["entities"]]
            turn["parse"] = {"intent": read["intent"]["name"], "entities": entities}
        elif "predict" in given:
            told = await self._post(self._path("predict"), {})
            best = max(told["scores"], key=lambda scored: scored["score"])["action"]
            turn["predict"] = {"policy": told["policy"], "confidence": round(told["confidence"], 3), "action": best}
        elif "sleep" in given:
            await self._wait_for_a_turn()
        return turn | await self._news()

    async def _wait_for_a_turn(self) -> None:
        """The recorder slept while a reminder came due: here until its turn is over."""
        news = asyncio.Event()
        unsubscribe = self._ports.subscribe(self._sender, lambda _: news.set())
        async with asyncio.timeout(30):
            while True:
                news.clear()  # before reading: what comes while we read wakes us
                state = (await self._http.get(self._path("tracker?include_events=ALL"))).json()
                fresh = [event for event in state["events"] if json.dumps(event, sort_keys=True) not in self._seen]
                if fresh and fresh[-1].get("name") == "action_listen":
                    break
                await news.wait()
        unsubscribe()

    async def _news(self) -> dict[str, Any]:
        state = (await self._http.get(self._path("tracker?include_events=ALL"))).json()
        fresh = [event for event in state["events"] if json.dumps(event, sort_keys=True) not in self._seen]
        self._seen |= {json.dumps(event, sort_keys=True) for event in fresh}
        keys = ("slots", "active_loop", "latest_action", "latest_input_channel", "paused", "followup_action")
        return {"events": [_clean(event) for event in fresh], "state": {key: state[key] for key in keys}}

    async def _post(self, path: str, body: object) -> Any:
        answer = await self._http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _path(self, rest: str) -> str:
        return f"/conversations/{self._sender}/{rest}"


def _without_recipient(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in message.items() if key != "recipient_id"} for message in messages]


def _dated(event: dict[str, Any]) -> dict[str, Any]:
    stamp = event.get("timestamp")
    return {**event, "timestamp": time.time() - stamp["ago"]} if isinstance(stamp, dict) else event


def _clean(event: dict[str, Any]) -> dict[str, Any]:
    """The event as the recorder writes it: no times, ids and nulls; of a message what was understood."""
    cleaned: dict[str, Any] = {"event": event["event"]}
    if event["event"] == "user":
        cleaned |= {"text": event["text"], "intent": event["parse_data"]["intent"]["name"]}
        entities = [{key: e[key] for key in _KEPT if key in e} for e in event["parse_data"]["entities"]]
        cleaned |= {"entities": entities} if entities else {}
        cleaned |= {"input_channel": event["input_channel"]} if event["input_channel"] else {}
    else:
        skipped = ("event", "timestamp", "metadata", "message_id", "parse_data")
        for key, value in event.items():
            if key in skipped or value is None or (key, value) == ("hide_rule_turn", False):
                continue
            if key == "data":
                value = {name: item for name, item in value.items() if item is not None}
                if not value:
                    continue
            cleaned[key] = "<time>" if key == "date_time" else value
    if event.get("metadata"):
        cleaned["metadata"] = event["metadata"]
    return cleaned


def _comparable(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items() if key not in _IDS}
    return [_comparable(item) for item in value] if isinstance(value, list) else value


def _comparable_turn(turn: dict[str, Any]) -> Any:
    """Rasa's store forgets earlier sessions, so how many events it holds is not compared; nor what a form was begun by
    beyond its intent and text: another model reads in another way."""
    compared = {key: value for key, value in turn.items() if key != "stored_events"}
    loop = turn["state"]["active_loop"]
    if loop:
        begun = loop["trigger_message"] or {}
        shown = {"text": begun.get("text"), "intent": (begun.get("intent") or {}).get("name")}
        compared["state"] = {**turn["state"], "active_loop": {**loop, "trigger_message": shown}}
    return _comparable(compared)


async def _play(lab: Lab, trace: dict[str, Any]) -> None:
    recorder = Recorder(lab, f"trace-{trace['name']}")
    for place, recorded in enumerate(trace["turns"], start=1):
        played = await recorder.play(recorded["input"])
        sender = f"trace-{trace['name']}"
        played = json.loads(json.dumps(played).replace(sender, "<SENDER>"))
        assert _comparable_turn(played) == _comparable_turn(recorded), f"turn {place}: {recorded['input']}"


@pytest.mark.parametrize("name", SAME)
async def test_labbot_answers_over_http_as_rasa_did(name: str, tmp_path: Path) -> None:
    trace = json.loads((TRACES / f"labbot_{name}.json").read_text(encoding="utf-8"))
    async with running(tmp_path, reader=Reader(readings(trace))) as lab:
        await _play(lab, trace)
