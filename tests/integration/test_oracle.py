"""The oracle is a Rasa server without the server: conversations recorded over REST come out of it event by event.

Needs the interpreter of an environment with rasa 3.6 (KEFU_RASA_PYTHON); Rasa itself is asked, nothing is scripted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.rasa.oracle import Oracle, OracleError, Outcome, turn_request

PYTHON = os.environ.get("KEFU_RASA_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="KEFU_RASA_PYTHON names no interpreter with rasa 3.6")

TESTS = Path(__file__).parent.parent
LABBOT = TESTS / "bots" / "labbot"
NOW = 1_700_000_000.0
# A session that expired (the recording injects it) and a real reminder have tests of their own; where TED decided
# something, a Rasa trained without it does not repeat the recording.
OTHERWISE = {"session_expiry", "reminder"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    oracle: Oracle
    folder: Path


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("oracle")
    with Oracle(Path(str(PYTHON))) as oracle:
        model = oracle.train(LABBOT, folder, name="labbot", without=["TEDPolicy"], core_only=True)
        oracle.load(model, LABBOT)
        yield Stage(oracle=oracle, folder=folder)


def traces() -> list[str]:
    found = []
    for path in sorted((TESTS / "traces").glob("labbot_*.json")):
        name = path.stem.removeprefix("labbot_")
        if "TEDPolicy" not in path.read_text(encoding="utf-8") and name not in OTHERWISE:
            found.append(name)
    return found


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def clean(event: dict[str, Any], sender: str) -> dict[str, Any]:
    """As the recorder writes an event: no timestamps, ids or nulls."""
    ignored = {"timestamp", "metadata", "message_id", "parse_data"}
    cleaned = {key: value for key, value in event.items() if key not in ignored and value is not None}
    if event["event"] == "user":
        parse = event["parse_data"]
        keys = ("entity", "value", "role", "group")
        entities = [{k: v for k, v in each.items() if k in keys} for each in parse["entities"]]
        cleaned |= {"intent": parse["intent"]["name"], **({"entities": entities} if entities else {})}
    if cleaned.get("hide_rule_turn") is False:
        del cleaned["hide_rule_turn"]
    if "date_time" in cleaned:
        cleaned["date_time"] = "<time>"
    if isinstance(cleaned.get("data"), dict):
        cleaned["data"] = {key: value for key, value in cleaned["data"].items() if value is not None}
        if not cleaned["data"]:
            del cleaned["data"]
    metadata = {k: v for k, v in event["metadata"].items() if k not in ("model_id", "assistant_id")}
    cleaned |= {"metadata": metadata} if metadata else {}
    cleaned.pop("input_channel", None) if event["event"] != "user" else None
    return dict(rounded(json.loads(json.dumps(cleaned).replace(sender, "<SENDER>"))))


def parse_of(text: str, recorded: list[dict[str, Any]]) -> dict[str, Any] | None:
    """What the recorded Rasa understood of a free text; None for `/intent`, which the oracle reads itself."""
    user = next((event for event in recorded if event["event"] == "user"), None)
    if user is None or (text.startswith("/") and user["intent"] == text[1:].partition("{")[0]):
        return None
    ranked = [event["text"].split("'")[1] for event in recorded if "Did you mean" in str(event.get("text"))]
    intent = {"name": user["intent"], "confidence": 1.0}
    ranking = [intent, *({"name": name, "confidence": 0.2} for name in ranked)]
    return {"text": text, "intent": intent, "intent_ranking": ranking, "entities": user.get("entities", [])}


def take(oracle: Oracle, sender: str, turn: dict[str, Any], now: float) -> Outcome | None:
    given = turn["input"]
    if "user" in given:
        parse_data = parse_of(given["user"], turn["events"])
        return oracle.turn(sender, given["user"], parse_data=parse_data, metadata=given.get("metadata"), now=now)
    if "trigger_intent" in given:
        return oracle.trigger_intent(sender, given["trigger_intent"]["name"], given["trigger_intent"].get("entities"))
    if "inject" in given:
        return oracle.append(sender, given["inject"], now=now)
    return None


@pytest.mark.parametrize("name", traces())
def test_recorded_conversation_comes_out_event_by_event(stage: Stage, name: str) -> None:
    trace = json.loads((TESTS / "traces" / f"labbot_{name}.json").read_text(encoding="utf-8"))
    for index, turn in enumerate(trace["turns"]):
        sender = f"oracle-{name}"
        outcome = take(stage.oracle, sender, turn, NOW + index)
        if outcome is None:
            continue
        assert [clean(event, sender) for event in outcome.events] == turn["events"], f"turn {index + 1}"
        assert rounded(outcome.state["slots"]) == turn["state"]["slots"], f"turn {index + 1}"
        if "responses" in turn:
            assert rounded(list(outcome.messages)) == rounded(turn["responses"]), f"turn {index + 1}"


def test_the_session_expires_when_the_clock_says_so(stage: Stage) -> None:
    def starts(now: float) -> int:
        events = stage.oracle.turn("clock", "/ask_hours", now=now).events
        return sum(event["event"] == "session_started" for event in events)

    assert [starts(NOW), starts(NOW + 3600), starts(NOW + 7201)] == [1, 0, 1]


def test_a_walk_is_the_same_turns_in_one_round_trip(stage: Stage) -> None:
    texts = ["/ask_hours", "/transfer", '/inform{"amount": "12"}', "/restart"]
    walked = stage.oracle.walk([turn_request("walk", text, now=NOW + k) for k, text in enumerate(texts)])
    one_by_one = [stage.oracle.turn("steps", text, now=NOW + k) for k, text in enumerate(texts)]
    assert [[clean(each, "walk") for each in result["events"]] for result in walked] == [
        [clean(each, "steps") for each in outcome.events] for outcome in one_by_one
    ]


def test_reminders_wait_until_they_are_asked_for(stage: Stage) -> None:
    stage.oracle.turn("remind", "/do_remind")
    [fired] = stage.oracle.fire_reminders("remind")
    assert [message["text"] for message in fired.messages] == ["reminder fired"]
    assert stage.oracle.fire_reminders("remind") == []


def test_a_forgotten_conversation_begins_again(stage: Stage) -> None:
    first = stage.oracle.turn("again", "/ask_hours", now=NOW)
    stage.oracle.reset("again")
    assert len(stage.oracle.turn("again", "/ask_hours", now=NOW).events) == len(first.events)


def test_predict_and_execute_do_what_the_server_does(stage: Stage) -> None:
    stage.oracle.turn("predict", "/ask_hours", now=NOW)
    assert stage.oracle.predict("predict")["policy"] == "RulePolicy"
    done = stage.oracle.execute("predict", "utter_hours", "somebody", 0.5)
    named = [(event.get("name"), event.get("policy")) for event in done.events if event["event"] == "action"]
    assert named == [("utter_hours", "somebody")]
    assert [message["text"] for message in done.messages] == ["we are open 9-5"]


def test_contradicting_rules_are_named_and_the_process_lives_on(stage: Stage, tmp_path: Path) -> None:
    domain = (
        'version: "3.1"\nintents: [a]\nactions: [action_x]\nresponses: {utter_a: [{text: a}], utter_b: [{text: b}]}\n'
    )
    rules = "\n".join(f"- rule: say {word}\n  steps:\n  - intent: a\n  - action: utter_{word}" for word in ("a", "b"))
    (tmp_path / "data").mkdir()
    (tmp_path / "domain.yml").write_text(domain, encoding="utf-8")
    (tmp_path / "config.yml").write_text(
        "recipe: default.v1\nassistant_id: x\nlanguage: en\npipeline: []\npolicies:\n- name: RulePolicy\n"
    )
    (tmp_path / "data" / "rules.yml").write_text(f'version: "3.1"\nrules:\n{rules}\n', encoding="utf-8")
    with pytest.raises(OracleError, match="say b") as refused:
        stage.oracle.train(tmp_path, stage.folder, core_only=True)
    assert refused.value.kind == "InvalidRule"
    assert stage.oracle.turn("alive", "/ask_hours", now=NOW).messages


def test_without_any_policy_training_is_refused(stage: Stage) -> None:
    with pytest.raises(OracleError, match="no policy would be left"):
        stage.oracle.train(LABBOT, stage.folder, without=["MemoizationPolicy", "RulePolicy", "TEDPolicy"])


def test_validation_and_domain_are_rasa_s_own(stage: Stage) -> None:
    assert stage.oracle.validate(LABBOT)["checks"]["domain"] is True
    assert stage.oracle.domain(LABBOT)["actions"][:2] == ["action_listen", "action_restart"]


def test_an_interpreter_without_rasa_is_told_apart(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named rasa >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(OracleError, match="ended during `hello`") as failed, Oracle(python):
        pass
    assert "no module named rasa" in str(failed.value)
