"""Rasa's HTTP API over a real platform: what Rasa 3.6.21 answered to the same requests, and what is refused how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.storage import conversations
from connectors.base import InboundMessage
from tests.lab import Lab, Read, Reader, running

pytestmark = pytest.mark.both_databases

STATE_KEYS = {
    *("sender_id", "slots", "latest_message", "latest_event_time", "followup_action", "paused", "events"),
    *("latest_input_channel", "active_loop", "latest_action", "latest_action_name"),
}
SESSION = ["action_session_start", "session_started", "action_listen"]
HOURS = {"intent": {"name": "ask_hours", "confidence": 0.9}, "entities": []}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    reader = Reader({"when are you open?": Read(intent="ask_hours")})
    async with running(tmp_path, reader=reader) as running_lab:
        yield running_lab


def names(events: list[dict[str, Any]]) -> list[str]:
    """An action by its name, any other event by its type."""
    return [event.get("name") if event["event"] == "action" else event["event"] for event in events]


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of an error, after checking that it has Rasa's shape and tells no secrets."""
    body = answer.json()
    assert set(body) == {"version", "status", "message", "reason", "details", "help", "code"}
    assert (body["version"], body["status"], body["code"]) == ("3.6.21", "failure", answer.status_code)
    assert "Traceback" not in answer.text
    return answer.status_code, body["reason"]


# ---- reading ----


async def test_a_conversation_that_nobody_began_is_shown_with_its_first_session_and_not_stored(lab: Lab) -> None:
    state = await lab.tracker("nobody")
    assert set(state) == STATE_KEYS
    assert names(state["events"]) == SESSION
    assert state["events"][0] == {
        "event": "action", "timestamp": state["events"][0]["timestamp"], "name": "action_session_start",
        "policy": None, "confidence": 1.0, "action_text": None, "hide_rule_turn": False,
    }  # fmt: skip
    assert (state["latest_action_name"], state["active_loop"], state["followup_action"]) == ("action_listen", {}, None)
    assert await lab.platform.db.read(lambda c: conversations.find(c, "labbot", "nobody")) is None
    for method, path in (("GET", "story"), ("POST", "predict"), ("POST", "execute")):
        answer = await lab.http.request(method, f"/conversations/nobody/{path}", json={"name": "utter_hours"})
        assert refusal(answer) == (404, "Not found")


async def test_what_was_said_over_rest_is_in_the_tracker(lab: Lab) -> None:
    assert await lab.say("/ask_hours") == ["we are open 9-5"]
    state = await lab.tracker()
    heard = ["user", "user_featurization", "utter_hours", "bot", "action_listen"]
    assert names(state["events"]) == [*SESSION, *heard]
    assert set(state["events"][6]["data"]) == {
        *("elements", "quick_replies", "buttons", "attachment", "image", "custom")
    }
    assert state["latest_message"]["intent"]["name"] == "ask_hours"
    assert state["latest_event_time"] == state["events"][-1]["timestamp"]


async def test_events_are_shown_as_asked_for(lab: Lab) -> None:
    await lab.say("/ask_hours")
    await lab.say("/restart")
    await lab.say("/ask_hours")
    events = {which: (await lab.tracker(include=which))["events"] for which in ("ALL", "AFTER_RESTART", "APPLIED")}
    assert names(events["ALL"]).count("user") == 3
    assert "restart" not in names(events["AFTER_RESTART"])
    assert events["AFTER_RESTART"] == events["ALL"][-len(events["AFTER_RESTART"]) :]
    assert names(events["APPLIED"])[:2] == ["action_listen", "user"]
    assert (await lab.tracker(include="none"))["events"] is None
    plain = (await lab.http.get("/conversations/anna/tracker")).json()
    assert plain["events"] == events["AFTER_RESTART"]


async def test_a_restart_from_outside_asks_for_a_session_only_until_the_next_event(lab: Lab) -> None:
    await lab.say("/ask_hours")
    for event in ({"event": "restart"}, {"event": "reset_slots"}):
        assert (await lab.http.post("/conversations/anna/tracker/events", json=[event])).status_code == 200
    assert (await lab.tracker())["followup_action"] == "action_listen"
    before = len((await lab.tracker())["events"])
    await lab.say("/ask_hours")
    assert "session_started" not in names((await lab.tracker())["events"][before:])


async def test_a_tracker_can_be_seen_as_it_was(lab: Lab) -> None:
    await lab.say("/ask_hours")
    first = await lab.tracker()
    await lab.say("/goodbye")
    moment = first["latest_event_time"]
    then = await lab.http.get(f"/conversations/anna/tracker?include_events=ALL&until={moment!r}")
    assert then.json() == first
    before = (await lab.http.get("/conversations/anna/tracker?until=5")).json()
    assert (before["events"], before["followup_action"]) == ([], "action_listen")


async def test_a_story_is_written_as_rasa_writes_it(lab: Lab) -> None:
    await lab.say("/ask_hours")
    await lab.say("when are you open?")
    answer = await lab.http.get("/conversations/anna/story")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == (
        'version: "3.1"\nstories:\n- story: anna\n  steps:\n'
        "  - intent: ask_hours\n    user: |-\n      /ask_hours\n  - action: utter_hours\n"
        "  - intent: ask_hours\n    user: |-\n      when are you open?\n  - action: utter_hours\n"
    )


# ---- changing ----


async def test_a_message_is_logged_then_predicted_then_executed(lab: Lab) -> None:
    logged = await lab.http.post("/conversations/anna/messages", json={"text": "/ask_hours", "sender": "user"})
    assert names(logged.json()["events"]) == [*SESSION, "user"]
    predicted = (await lab.http.post("/conversations/anna/predict", json={})).json()
    assert set(predicted) == {"scores", "policy", "confidence", "tracker"}
    assert predicted["scores"][0] == {"action": "utter_hours", "score": 1.0}
    assert (predicted["policy"], predicted["confidence"]) == ("RulePolicy", 1.0)
    scores = [(-scored["score"], scored["action"]) for scored in predicted["scores"]]
    assert scores == sorted(scores)
    order = {"name": "utter_hours", "policy": "RulePolicy", "confidence": 1.0}
    executed = (await lab.http.post("/conversations/anna/execute", json=order)).json()
    assert executed["messages"] == [{"recipient_id": "anna", "text": "we are open 9-5"}]
    assert names(executed["tracker"]["events"])[-2:] == ["utter_hours", "bot"]
    assert executed["tracker"]["events"][-2]["policy"] == "RulePolicy"


async def test_what_was_read_elsewhere_is_taken(lab: Lab) -> None:
    body = {"text": "opening times", "sender": "user", "parse_data": HOURS}
    state = (await lab.http.post("/conversations/anna/messages", json=body)).json()
    assert (state["latest_message"]["intent"], state["latest_message"]["text"]) == (HOURS["intent"], "opening times")


@pytest.mark.parametrize("entities", [{"city": "rome"}, [{"entity": "city", "value": "rome", "role": "destination"}]])
async def test_an_intent_is_triggered_with_entities_in_both_of_rasa_s_ways(lab: Lab, entities: object) -> None:
    answer = await lab.http.post(
        "/conversations/anna/trigger_intent?output_channel=latest", json={"name": "ask_hours", "entities": entities}
    )
    assert answer.json()["messages"] == [{"recipient_id": "anna", "text": "we are open 9-5"}]
    message = answer.json()["tracker"]["latest_message"]
    assert message["entities"][0]["value"] == "rome"
    assert answer.json()["tracker"]["events"][3]["text"] == "EXTERNAL: ask_hours"


async def test_events_are_appended_to_a_first_session_with_their_own_times(lab: Lab) -> None:
    event = {"event": "slot", "name": "vip", "value": True, "timestamp": 1_700_000_000.5}
    state = (await lab.http.post("/conversations/anna/tracker/events", json=event)).json()
    assert names(state["events"]) == [*SESSION, "slot"]
    assert (state["events"][-1]["timestamp"], state["slots"]["vip"]) == (1_700_000_000.5, True)
    more = [{"event": "followup", "name": "utter_hours"}]
    state = (await lab.http.post("/conversations/anna/tracker/events?include_events=NONE", json=more)).json()
    assert (state["followup_action"], state["events"]) == ("utter_hours", None)


@pytest.mark.parametrize(("query", "is_said"), [("", False), ("?execute_side_effects=true", True)])
async def test_an_appended_bot_message_is_sent_when_side_effects_are_asked_for(
    lab: Lab, query: str, is_said: bool
) -> None:
    event = {"event": "bot", "text": "Your parcel left."}
    await lab.http.post(f"/conversations/anna/tracker/events{query}", json=[event])
    said = [entry.body.get("text") for entry in await lab.platform.ports.transcript("anna", 0) if entry.author == "bot"]
    assert said == (["Your parcel left."] if is_said else [])


async def test_events_replace_the_whole_conversation(lab: Lab) -> None:
    await lab.say("/transfer")
    events = [{"event": "action", "name": "action_session_start"}, {"event": "session_started"}]
    events += [{"event": "action", "name": "action_listen"}, {"event": "slot", "name": "vip", "value": True}]
    state = (await lab.http.put("/conversations/anna/tracker/events", json=events)).json()
    assert names(state["events"]) == [*SESSION, "slot"]
    assert (state["active_loop"], state["slots"]["vip"]) == ({}, True)
    assert await lab.say("/ask_hours") == ["we are open 9-5"]


async def test_a_repeated_request_is_carried_out_once(lab: Lab) -> None:
    for _ in range(2):
        answer = await lab.http.post(
            "/conversations/anna/trigger_intent", json={"name": "ask_hours"}, headers={"Idempotency-Key": "k1"}
        )
        assert answer.json()["messages"] == [{"recipient_id": "anna", "text": "we are open 9-5"}]
    assert names((await lab.tracker())["events"]).count("user") == 1


async def test_commands_and_messages_of_one_conversation_keep_their_order(lab: Lab) -> None:
    await asyncio.gather(
        *(lab.http.post("/conversations/anna/trigger_intent", json={"name": "ask_hours"}) for _ in range(5)),
        *(lab.say("/ask_hours") for _ in range(5)),
    )
    turn = ["user", "user_featurization", "utter_hours", "bot", "action_listen"]
    assert names((await lab.tracker())["events"]) == [*SESSION, *(turn * 10)]


async def test_the_company_speaks_in_another_channel_s_conversation(lab: Lab) -> None:
    message = InboundMessage(
        channel="web", account="", external_id="1", customer="visitor", sender_id="web:visitor", text="/ask_hours",
        received_at=datetime.now(UTC), input_channel="web",
    )  # fmt: skip
    [receipt] = await lab.platform.ports.receive([message])
    await lab.platform.ports.wait_for_reply(receipt.inbound_id, 10)
    answer = await lab.http.post("/conversations/web:visitor/trigger_intent", json={"name": "goodbye"})
    assert answer.json()["messages"] == [{"recipient_id": "web:visitor", "text": "bye"}]
    said = [entry.body.get("text") for entry in await lab.platform.ports.transcript("web:visitor", 0)]
    assert said[-1] == "bye"
    assert refusal(await lab.http.post("/conversations/slack:new/trigger_intent", json={"name": "goodbye"})) == (
        400,
        "BadRequest",
    )


# ---- the model ----


async def test_version_and_status(lab: Lab) -> None:
    version = (await lab.http.get("/version")).json()
    assert (version["version"], version["minimum_compatible_version"]) == ("3.6.21", "3.6.21")
    status = (await lab.http.get("/status")).json()
    assert status == {"model_file": "told.tar.gz", "model_id": "told", "num_active_training_jobs": 0}


async def test_the_domain_in_both_formats(lab: Lab) -> None:
    as_json = (await lab.http.get("/domain", headers={"Accept": "application/json"})).json()
    assert "ask_hours" in as_json["intents"]
    as_yaml = await lab.http.get("/domain", headers={"Accept": "application/x-yaml"})
    assert as_yaml.headers["content-type"].startswith("application/x-yaml")
    assert "utter_hours:" in as_yaml.text
    assert refusal(await lab.http.get("/domain", headers={"Accept": "text/html"})) == (406, "NotAcceptable")


async def test_parsing_changes_no_conversation(lab: Lab) -> None:
    read = (await lab.http.post("/model/parse", json={"text": "when are you open?"})).json()
    assert (read["intent"]["name"], read["text"], read["entities"]) == ("ask_hours", "when are you open?", [])
    written = (await lab.http.post("/model/parse", json={"text": '/transfer{"amount": 3}'})).json()
    assert written["entities"][0] == {
        "entity": "amount", "value": 3, "start": 9, "end": 22, "extractor": "RegexMessageHandler",
    }  # fmt: skip
    assert await lab.platform.db.read(lambda c: conversations.find(c, "labbot", "default")) is None


async def test_the_next_action_after_given_events(lab: Lab) -> None:
    events = [{"event": "action", "name": "action_session_start"}, {"event": "session_started"}]
    events += [{"event": "action", "name": "action_listen"}, {"event": "user", "text": "x", "parse_data": HOURS}]
    predicted = (await lab.http.post("/model/predict", json=events)).json()
    assert (predicted["policy"], predicted["tracker"]["sender_id"]) == ("RulePolicy", "default")
    assert [scored["action"] for scored in predicted["scores"] if scored["score"] == 1] == ["utter_hours"]
    nothing = (await lab.http.post("/model/predict", json=[])).json()
    assert nothing["scores"][0] == {"action": "action_listen", "score": 1.0}


async def test_without_a_model_rasa_s_conflict(tmp_path: Path) -> None:
    class Absent(Reader):
        version = ""

    async with running(tmp_path, reader=Absent()) as lab:
        assert refusal(await lab.http.get("/status")) == (409, "Conflict")
        assert refusal(await lab.http.post("/model/parse", json={"text": "x"})) == (409, "Conflict")


# ---- refusals ----

BAD_REQUEST = (400, "BadRequest")
FAILED = (500, "ConversationError")
EVENTS = "/conversations/anna/tracker/events"


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/conversations/anna/tracker?include_events=SOME", None, BAD_REQUEST),
        ("POST", "/conversations/anna/messages", None, BAD_REQUEST),
        ("POST", "/conversations/anna/messages", {"text": "hi", "sender": "bot"}, BAD_REQUEST),
        ("POST", "/conversations/anna/messages", {"sender": "user"}, BAD_REQUEST),
        ("POST", "/conversations/anna/messages", {"sender": "user", "text": "x", "parse_data": {"text": "x"}}, FAILED),
        ("POST", "/conversations/anna/messages", {"sender": "user", "text": "x", "parse_data": 7}, FAILED),
        ("POST", "/conversations/anna/execute", {}, BAD_REQUEST),
        ("POST", "/conversations/anna/execute", {"name": "no_such_action"}, FAILED),
        ("POST", "/conversations/anna/execute", {"name": "utter_hours", "confidence": "high"}, BAD_REQUEST),
        ("POST", "/conversations/anna/trigger_intent", {}, BAD_REQUEST),
        ("POST", "/conversations/anna/trigger_intent", {"name": "no_such_intent"}, (404, "NotFound")),
        ("POST", "/conversations/anna/trigger_intent", {"name": "ask_hours", "entities": [{"x": 1}]}, BAD_REQUEST),
        ("POST", EVENTS, [], BAD_REQUEST),
        ("POST", EVENTS, None, BAD_REQUEST),
        ("POST", EVENTS, [{"event": "nonsense"}], BAD_REQUEST),
        ("POST", EVENTS, [{"event": "slot", "name": "vip"}], BAD_REQUEST),
        ("POST", EVENTS, [{"event": "handoff"}], BAD_REQUEST),
        ("POST", EVENTS, [{"event": "restart", "timestamp": "now"}], BAD_REQUEST),
        ("PUT", EVENTS, [{"event": "user", "parse_data": {"entities": 3}}], BAD_REQUEST),
        ("POST", "/model/predict", [{"event": "x"}], BAD_REQUEST),
        ("POST", "/model/parse", None, BAD_REQUEST),
        ("POST", "/model/parse", {"message": "x"}, (500, "ParsingError")),
        ("POST", "/model/parse?emulation_mode=foo", {"text": "x"}, BAD_REQUEST),
        ("POST", "/model/parse?emulation_mode=wit", {"text": "x"}, (501, "NotImplemented")),
        ("PUT", "/model", None, BAD_REQUEST),
        ("PUT", "/model", {"model_file": "models/2026.tar.gz"}, BAD_REQUEST),
        ("PUT", "/model", {"model_file": "20261123T164000-ab12cd34"}, BAD_REQUEST),
        ("PUT", "/model", {"model_server": {"url": "http://x"}}, (501, "NotImplemented")),
        ("DELETE", "/model", None, (501, "NotImplemented")),
        ("POST", "/model/test/stories", {}, (501, "NotImplemented")),
        ("POST", "/model/train", None, BAD_REQUEST),
    ],
)
async def test_refusals(lab: Lab, method: str, path: str, body: object, expected: tuple[int, str]) -> None:
    await lab.say("/ask_hours")
    answer = (
        await lab.http.request(method, path, json=body) if body is not None else await lab.http.request(method, path)
    )
    assert refusal(answer) == expected
    assert names((await lab.tracker())["events"]).count("user") == 1


@pytest.mark.parametrize("raw", [b"{", b"\xff\xfe", b"[" * 70_000, b'{"name": NaN}', b'{"a": 1e999}', b'"text"', b"7"])
async def test_a_body_that_is_no_json_object_is_refused(lab: Lab, raw: bytes) -> None:
    answer = await lab.http.post("/conversations/anna/trigger_intent", content=raw)
    assert refusal(answer) == BAD_REQUEST


async def test_text_that_no_database_stores_is_refused_or_cleaned(lab: Lab) -> None:
    half = await lab.http.post(EVENTS, content=b'{"event": "slot", "name": "topic", "value": "\\ud83d"}')
    assert refusal(half) == BAD_REQUEST
    state = (await lab.http.post(EVENTS, json={"event": "slot", "name": "topic", "value": "a\0b"})).json()
    assert state["slots"]["topic"] == "ab"


async def test_an_id_that_no_database_holds_is_nobodys(lab: Lab) -> None:
    for method, path, body in (
        ("GET", "tracker", None),
        ("GET", "story", None),
        ("POST", "predict", None),
        ("POST", "execute", {"name": "utter_hours"}),
        ("POST", "messages", {"text": "/ask_hours", "sender": "user"}),
        ("POST", "trigger_intent", {"name": "ask_hours"}),
        ("POST", "tracker/events", {"event": "restart"}),
    ):
        answer = await lab.http.request(method, f"/conversations/a%00b/{path}", json=body)
        assert answer.status_code in {400, 404}, (path, answer.text)
