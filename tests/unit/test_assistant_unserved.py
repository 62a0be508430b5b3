"""What Kefu does not run is an error where a slot, rule or story depends on it, else a warning; each with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.assistant.loader import check_assistant, load_assistant

DOMAIN = """intents: [greet, tell]
entities: [person, city, distance]
slots:
  name:
    type: text
    mappings:
    - type: from_entity
      entity: person
responses:
  utter_greet:
  - text: Hello
  utter_default:
  - text: Pardon?
"""
SPACY = "pipeline:\n- name: SpacyNLP\n- name: SpacyEntityExtractor\n"


def found(tmp_path: Path, level: str, **files: str) -> list[str]:
    """`file:line message` of every problem of this level."""
    for name, text in {"domain": DOMAIN, **files}.items():
        path = tmp_path / ("data/nlu.yml" if name == "nlu" else f"{name}.yml")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    problems = [p for p in check_assistant(tmp_path, {}) if p.level == level]
    return [f"{p.where.file.name if p.where else ''}:{p.where.line if p.where else ''} {p.message}" for p in problems]


def test_a_slot_that_only_spacy_would_fill_is_an_error_where_it_is_mapped(tmp_path: Path) -> None:
    [error] = found(tmp_path, "error", config=SPACY)
    assert error.startswith("domain.yml:7 nothing fills the slot 'name'")
    assert "SpacyEntityExtractor" in error


@pytest.mark.parametrize(
    "nlu",
    [
        "nlu:\n- intent: tell\n  examples: |\n    - I am [Ann](person)\n",
        "nlu:\n- lookup: person\n  examples: |\n    - Ann\n",
        "nlu:\n- regex: person\n  examples: |\n    - [A-Z][a-z]+\n",
    ],
)
def test_an_entity_that_is_found_otherwise_makes_it_a_warning(tmp_path: Path, nlu: str) -> None:
    assert found(tmp_path, "error", config=SPACY, nlu=nlu) == []
    warnings = found(tmp_path, "warning", config=SPACY, nlu=nlu)
    assert any(w.startswith("config.yml:3 SpacyEntityExtractor is not run") for w in warnings)


def test_a_slot_that_something_else_fills_is_no_error(tmp_path: Path) -> None:
    other = DOMAIN.replace("    mappings:\n", "    mappings:\n    - type: from_text\n")
    assert found(tmp_path, "error", config=SPACY, domain=other) == []


def test_a_button_that_sends_the_entity_fills_the_slot(tmp_path: Path) -> None:
    button = '  - text: Who?\n    buttons:\n    - title: Ann\n      payload: \'/tell{"person": "Ann"}\'\n'
    assert found(tmp_path, "error", config=SPACY, domain=DOMAIN.replace("  - text: Hello\n", button)) == []


def test_without_such_a_component_an_entity_nobody_finds_is_the_authors_business(tmp_path: Path) -> None:
    assert found(tmp_path, "error", config="pipeline:\n- name: DIETClassifier\n") == []


def test_a_rule_that_waits_for_such_an_entity_is_an_error_on_its_line(tmp_path: Path) -> None:
    rules = "rules:\n- rule: r\n  steps:\n  - intent: tell\n    entities:\n    - city: Rome\n  - action: utter_greet\n"
    errors = found(tmp_path, "error", config=SPACY, nlu=rules)
    assert any(e.startswith("nlu.yml:4 this step waits for the entity 'city'") for e in errors)


DUCKLING = "pipeline:\n- name: DucklingEntityExtractor\n  dimensions: [time, distance]\n"
FAR = DOMAIN.replace("entity: person", "entity: distance")


def test_a_dimension_that_only_a_server_finds(tmp_path: Path) -> None:
    assert found(tmp_path, "error", config=DUCKLING) == []
    assert (
        found(tmp_path, "warning", config=DUCKLING)[0] == "config.yml:2 Duckling's dimension 'distance' is not served"
    )
    [error] = found(tmp_path, "error", config=DUCKLING, domain=FAR)
    assert error.startswith("domain.yml:7 nothing fills the slot 'name'")
    assert found(tmp_path, "error", config=f"{DUCKLING}  url: http://localhost:9\n", domain=FAR) == []


def test_without_a_list_of_dimensions_only_what_a_slot_needs_is_missed(tmp_path: Path) -> None:
    every = "pipeline:\n- name: DucklingEntityExtractor\n"
    assert [w for w in found(tmp_path, "warning", config=every) if "Duckling" in w] == []
    assert len(found(tmp_path, "error", config=every, domain=FAR)) == 1


def test_channels_stores_and_brokers_are_warnings_on_their_lines(tmp_path: Path) -> None:
    warnings = found(
        tmp_path,
        "warning",
        credentials="rest:\nfacebook:\n  verify: x\n",
        endpoints="tracker_store:\n  type: mongod\nlock_store:\n  type: redis\nevent_broker:\n  type: my.own.Broker\n"
        "nlg:\n  type: my.own.Generator\n",
    )
    assert any(w.startswith("endpoints.yml:7 the `nlg` type 'my.own.Generator' is not run") for w in warnings)
    assert any(w.startswith("credentials.yml:2 the channel 'facebook' is not run") for w in warnings)
    assert any(w.startswith("endpoints.yml:2 the tracker store 'mongod' is not used") for w in warnings)
    assert any(w.startswith("endpoints.yml:6 the event broker 'my.own.Broker' is not run") for w in warnings)
    assert not any("lock store" in w or "'rest'" in w for w in warnings)


@pytest.mark.parametrize(
    ("section", "level", "problem"),
    [
        ("type: my.own.Generator", "warning", "1 the `nlg` type 'my.own.Generator' is not run"),
        ("url: localhost:5056/nlg", "warning", "2 the `nlg` server is not asked: its `url` does not begin with http"),
        ("token: x", "warning", "1 the `nlg` server is not asked: its `url` does not begin with http"),
        ("url: http://a\n  cafile: ca.pem", "warning", "3 `cafile` of the `nlg` server is not read"),
        ("url: http://a\n  tokn: x", "warning", "3 unknown key 'tokn'"),
        ("url: http://a\n  headers: x", "error", "3 a mapping (`key: value`) is expected here, not text"),
        ("url: http://a\n  headers: {x: é}", "error", "3 the header 'x' has letters beyond ASCII"),
    ],
)
def test_what_of_an_nlg_section_is_not_honoured_is_told(tmp_path: Path, section: str, level: str, problem: str) -> None:
    told = found(tmp_path, level, endpoints=f"nlg:\n  {section}\n")
    assert any(one.startswith(f"endpoints.yml:{problem}") for one in told), told


@pytest.mark.parametrize("section", ["{type: response}", "", "{url: 'http://a', type: Callback, token: 7}"])
def test_an_nlg_section_that_is_honoured_is_no_warning(tmp_path: Path, section: str) -> None:
    endpoints = f"nlg: {section}\n"
    assert found(tmp_path, "error", endpoints=endpoints) == []
    assert not [one for one in found(tmp_path, "warning", endpoints=endpoints) if "endpoints" in one]
    nlg = load_assistant(tmp_path, {}).nlg
    assert (nlg and (nlg.url, nlg.params)) == (("http://a", {"token": "7"}) if "url" in section else None)


OWN = DOMAIN.replace("    type: text\n", "    type: actions.slots.NameSlot\n").replace("entity: person", "entity: city")


def test_a_slot_type_of_the_projects_own(tmp_path: Path) -> None:
    [error] = found(tmp_path, "error", domain=OWN)
    assert error.startswith("domain.yml:5 the slot 'name' has a type of this project's own")
    silent = OWN.replace("    mappings:\n", "    influence_conversation: false\n    mappings:\n")
    assert found(tmp_path, "error", domain=silent) == []
    assert load_assistant(tmp_path, {}).domain.slots["name"].type == "any"
    path = OWN.replace("actions.slots.NameSlot", "rasa.shared.core.slots.TextSlot")
    assert found(tmp_path, "error", domain=path) == []
    assert load_assistant(tmp_path, {}).domain.slots["name"].type == "text"


def test_action_unlikely_intent_is_said_never_to_happen(tmp_path: Path) -> None:
    rules = "rules:\n- rule: r\n  steps:\n  - action: action_unlikely_intent\n  - action: utter_greet\n"
    assert "nlu.yml:4 action_unlikely_intent is never predicted" in found(tmp_path, "error", nlu=rules)
    engine = "dialogue: rasa\nrasa_url: http://127.0.0.1:5005\n"
    assert found(tmp_path, "error", nlu=rules, kefu=engine) == []
    assert "nlu.yml:4 action_unlikely_intent is never predicted" in found(tmp_path, "warning", nlu=rules, kefu=engine)
