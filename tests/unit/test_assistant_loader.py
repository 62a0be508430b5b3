"""The loader: Rasa's formats in, one value out, and every mistake with its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from bot.assistant.config import GenerationConfig
from bot.assistant.domain import MappingCondition
from bot.assistant.loader import check_assistant, load_assistant, load_tests
from bot.assistant.stories import ActionStep, CheckpointStep, LoopStep, OrStep, SlotStep, UserStep
from bot.errors import AssistantError
from training.annotations import EntitySpan, split_annotations

Write = Callable[..., Path]

DOMAIN = """
version: "3.1"
intents: [greet, order]
entities: [number]
slots:
  number:
    type: text
    mappings:
    - type: from_entity
      entity: number
responses:
  utter_greet:
  - text: Hello
"""


@pytest.fixture
def project(tmp_path: Path) -> Write:
    """`project(**{"domain.yml": text})` writes an assistant's folder."""

    def write(files: dict[str, str] | None = None) -> Path:
        for name, text in {"domain.yml": DOMAIN, **(files or {})}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


def test_nlu_reads_both_entity_notations_synonyms_regexes_and_lookups(project: Write) -> None:
    folder = project(
        {
            "data/nlu.yml": """
version: "3.1"
nlu:
- intent: order
  examples: |
    - where is [A-1](number)
    - the [second one]{"entity": "number", "value": "2", "role": "which"} please
    # a comment
- intent: greet
  examples:
  - text: hi
  - hello there
- synonym: parcel
  examples: |
    - Package
- regex: number
  examples: |
    - [A-Z]-\\d+
- lookup: city
  examples: |
    - Berlin
    - Rom
"""
        }
    )
    nlu = load_assistant(folder, {}).nlu
    assert [(e.text, e.intent) for e in nlu.examples] == [
        ("where is A-1", "order"),
        ("the second one please", "order"),
        ("hi", "greet"),
        ("hello there", "greet"),
    ]
    assert nlu.examples[0].entities == (EntitySpan(start=9, end=12, entity="number", value="A-1"),)
    assert nlu.examples[1].entities == (EntitySpan(start=4, end=14, entity="number", value="2", role="which"),)
    assert nlu.synonyms == {"second one": "2", "package": "parcel"}
    assert nlu.regexes == (("number", "[A-Z]-\\d+"),)
    assert nlu.lookups == {"city": ("Berlin", "Rom")}
    assert (nlu.examples[0].where.file.name, nlu.examples[0].where.line) == ("nlu.yml", 6)
    assert nlu.examples[2].where.line == 11


def test_a_list_of_entities_on_one_span_and_a_broken_annotation() -> None:
    text = 'from [x][{"entity": "a"}, {"entity": "b", "value": "y"}] to [z]{"entity" oops}'
    plain, spans = split_annotations(text)
    assert plain == 'from x to [z]{"entity" oops}'
    assert [(s.start, s.end, s.entity, s.value) for s in spans] == [(5, 6, "a", "x"), (5, 6, "b", "y")]


@pytest.mark.parametrize(
    ("file", "text", "language"),
    [
        ("data/nlu_zh.yml", "ok", "zh"),
        ("data/nlu_en.yml", "你好", "en"),
        ("data/nlu.yml", "我的快递呢", "zh"),
        ("data/nlu.yml", "where is it", "en"),
        ("data/nlu.yml", "A-1? 还没到", "zh"),
        ("data/nlu.yml", "👍 123", None),
    ],
)
def test_language_of_an_example_comes_from_the_file_name_or_the_script(
    project: Write, file: str, text: str, language: str | None
) -> None:
    folder = project({file: f"nlu:\n- intent: greet\n  examples: |\n    - {text}\n"})
    assert load_assistant(folder, {}).nlu.examples[0].language == language


def test_rules_and_stories_in_any_file_are_merged(project: Write) -> None:
    folder = project(
        {
            "data/a.yml": "rules:\n- rule: one\n  steps:\n  - intent: greet\n  - action: utter_greet\n",
            "data/deep/b.yml": """
nlu:
- intent: greet
  examples: |
    - hi
rules:
- rule: two
  conversation_start: true
  wait_for_user_input: false
  condition:
  - slot_was_set:
    - number: null
  steps:
  - intent: order
    entities:
    - number: "7"
      role: which
    - number
  - action: utter_greet
stories:
- story: three
  steps:
  - checkpoint: start
    slot_was_set:
    - number: "1"
  - or:
    - intent: greet
    - slot_was_set:
      - number
  - active_loop: null
  - bot: "yes"
  - user: "where is [A-1](number)"
    intent: order
""",
        }
    )
    assistant = load_assistant(folder, {})
    two = assistant.rules[1]
    assert [rule.name for rule in assistant.rules] == ["one", "two"]
    assert (two.is_conversation_start, two.waits_for_user) == (True, False)
    assert isinstance(two.conditions[0], SlotStep)
    assert two.conditions[0].value is None
    user = two.steps[0]
    assert isinstance(user, UserStep)
    assert user.entities == ({"entity": "number", "value": "7", "role": "which"}, {"entity": "number", "value": ""})
    checkpoint, either, loop, said, asked = assistant.stories[0].steps
    assert isinstance(checkpoint, CheckpointStep)
    assert checkpoint.conditions == (("number", "1"),)
    assert isinstance(either, OrStep)
    assert [type(step) for step in either.alternatives] == [UserStep, SlotStep]
    assert isinstance(loop, LoopStep)
    assert loop.name is None
    assert isinstance(said, ActionStep)
    assert said.text == "yes"
    assert isinstance(asked, UserStep)
    number = {"entity": "number", "value": "A-1", "start": 9, "end": 12}
    assert (asked.text, asked.entities) == ("where is A-1", (number,))


def test_domain_folder_is_merged_and_yaml_is_1_2(project: Write, tmp_path: Path) -> None:
    folder = project(
        {
            "domain/slots.yml": """
slots:
  agreed:
    type: categorical
    values: [yes, no, 12:30]
    influence_conversation: true
    mappings:
    - type: from_intent
      intent: greet
      value: on
      conditions:
      - active_loop: null
      - active_loop: f
        requested_slot: agreed
forms:
  f:
    required_slots: [agreed]
responses:
  utter_ask_agreed:
  - text: Agreed?
""",
        }
    )
    domain = load_assistant(folder, {}).domain
    slot = domain.slots["agreed"]
    assert slot.values == ("yes", "no", "12:30", "__other__")
    assert slot.mappings[0].value == "on"
    assert slot.mappings[0].conditions == (
        MappingCondition(active_loop=None),
        MappingCondition(active_loop="f", requested_slot="agreed"),
    )
    assert {"requested_slot", "session_started_metadata", "number", "agreed"} == set(domain.slots)
    assert domain.raw["slots"]["agreed"]["mappings"][0]["value"] == "on"
    assert domain.raw["responses"].keys() == {"utter_greet", "utter_ask_agreed"}


@pytest.mark.parametrize(
    ("settings", "used"),  # as a live Rasa 3.6.21 has them
    [
        ("", ["colour", "size", "size#1"]),
        ("{ignore_entities: [colour]}", ["city#from", "city#to", "size", "size#1"]),
        ("{use_entities: [city, size]}", ["size", "size#1"]),
        ("{use_entities: false}", []),
        ("{use_entities: []}", []),
        ("{use_entities: [size, colour], ignore_entities: [size]}", ["colour"]),
    ],
)
def test_the_entities_that_count_with_an_intent_are_rasas(tmp_path: Path, settings: str, used: list[str]) -> None:
    domain = f"""
entities:
- city: {{roles: [from, to], influence_conversation: false}}
- size: {{groups: ['1']}}
- colour
intents:
- {"asked: " + settings if settings else "asked"}
"""
    (tmp_path / "domain.yml").write_text(domain)
    assert sorted(load_assistant(tmp_path, {}).domain.intents["asked"].used_entities) == used


def test_the_value_is_frozen(project: Write) -> None:
    assistant = load_assistant(project(), {})
    with pytest.raises(FrozenInstanceError):
        assistant.rules = ()  # type: ignore[misc]


def test_settings_and_defaults(project: Write) -> None:
    folder = project(
        {
            "config.yml": """
assistant_id: shop
pipeline:
- name: SomeTokenizer
- name: FallbackClassifier
  threshold: 0.5
policies:
- name: rasa.core.policies.RulePolicy
  core_fallback_threshold: 0.2
""",
            "endpoints.yml": "action_endpoint:\n  url: ${ACTIONS}/webhook\n  token: ${TOKEN:-none}\n",
            "credentials.yml": "rest:\nslack:\n  token: ${SLACK}\n",
            "brand.yml": "name: Shop\ndisclosure: {enabled: false, text: {en: Robot}}\nhand_off: {reply_within: soon}",
            "kefu.yml": "base: all-MiniLM-L6-v2\n",
            "sentiment/en.csv": 'text,label\n"fine, thanks",positive\n',
        }
    )
    assistant = load_assistant(folder, {"ACTIONS": "http://actions:5055", "SLACK": "x"})
    assert assistant.assistant_id == "shop"
    assert assistant.fallback is not None
    assert (assistant.fallback.threshold, assistant.fallback.ambiguity_threshold) == (0.5, 0.1)
    assert [(p.name, dict(p.settings)) for p in assistant.policies] == [
        ("RulePolicy", {"core_fallback_threshold": 0.2})
    ]
    assert assistant.endpoints["action_endpoint"] == {"url": "http://actions:5055/webhook", "token": "none"}
    assert assistant.credentials == {"rest": None, "slack": {"token": "x"}}
    brand = assistant.brand
    assert (brand.name["zh"], brand.disclosure_enabled, brand.disclosure("en")) == ("Shop", False, "Robot")
    assert brand.disclosure("fr") == "Robot"
    assert brand.disclosure_text["zh"]
    assert (assistant.config.base, assistant.config.recipe) == ("all-MiniLM-L6-v2", "quick")
    assert [(s.text, s.label, s.language) for s in assistant.sentiment] == [("fine, thanks", "positive", "en")]


STORY = "stories:\n- story: s\n  steps:\n  - intent: greet\n  - action: utter_greet\n"

MISTAKES = {
    "unknown intent": (
        {"data/s.yml": STORY.replace("greet\n  - action", "gret\n  - action")},
        ("s.yml", 4, "unknown intent 'gret'", "Did you mean 'greet'?"),
    ),
    "unknown slot": (
        {"data/s.yml": STORY + "  - slot_was_set:\n    - numbr: x\n"},
        ("s.yml", 7, "unknown slot 'numbr'", "Did you mean 'number'?"),
    ),
    "utter without response": (
        {"data/s.yml": STORY.replace("utter_greet", "utter_bye")},
        ("s.yml", 5, "'utter_bye'", "responses"),
    ),
    "unknown action": (
        {"data/s.yml": STORY.replace("utter_greet", "action_x")},
        ("s.yml", 5, "unknown action 'action_x'", "actions"),
    ),
    "unknown form": (
        {"data/s.yml": STORY + "  - active_loop: f\n"},
        ("s.yml", 6, "unknown form 'f'", "forms"),
    ),
    "story twice": ({"data/s.yml": STORY, "data/t.yml": STORY}, ("t.yml", 2, "exists twice", "s.yml:2")),
    "form without ask": (
        {"domain/f.yml": "forms:\n  f:\n    required_slots: [number]\n"},
        ("f.yml", 2, "never asks for 'number'", "utter_ask_number"),
    ),
    "form of an unknown slot": (
        {"domain/f.yml": "forms:\n  f:\n    required_slots: [nmber]\n"},
        ("f.yml", 2, "unknown slot 'nmber'", "number"),
    ),
    "slot type": (
        {"domain/s.yml": "slots:\n  x:\n    type: string\n    mappings: []\n"},
        ("s.yml", 3, "unknown type 'string'", "categorical"),
    ),
    "wrong type": (
        {"domain/s.yml": "forms: []\n"},
        ("s.yml", 1, "a mapping", None),
    ),
    "number where text is meant": (
        {"domain/r.yml": "responses:\n  utter_n:\n  - text: 12\n"},
        ("r.yml", 3, "text is expected", '"12"'),
    ),
    "response defined twice": (
        {"domain/r.yml": "responses:\n  utter_greet:\n  - text: Hi\n"},
        ("r.yml", 2, "'utter_greet' is defined twice", None),
    ),
    "key twice": ({"data/s.yml": "nlu: []\nnlu: []\n"}, ("s.yml", 2, "'nlu' stands here twice", None)),
    "not yaml": ({"data/s.yml": "nlu: [\n"}, ("s.yml", 2, "not valid YAML", None)),
    "unset variable": ({"endpoints.yml": "nlg:\n  url: ${NLG}\n"}, ("endpoints.yml", 2, "NLG is not set", "NLG")),
    "sentiment label": (
        {"sentiment/en.csv": "text,label\nfine,good\n"},
        ("en.csv", 2, "unknown label 'good'", "positive"),
    ),
    "regex": (
        {"data/n.yml": "nlu:\n- regex: r\n  examples: |\n    - (\n"},
        ("n.yml", 4, "cannot be compiled", None),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_way_out(project: Write, mistake: str) -> None:
    files, (file, line, message, hint) = MISTAKES[mistake]
    with pytest.raises(AssistantError) as raised:
        load_assistant(project(files), {})
    where = raised.value.where
    assert where is not None
    assert (where.file.name, where.line) == (file, line)
    assert message in str(raised.value)
    assert hint is None or hint in (raised.value.hint or "")


def test_check_lists_every_problem_errors_first(project: Write) -> None:
    folder = project(
        {
            "data/s.yml": STORY.replace("intent: greet", "intent: gret").replace("utter_greet", "utter_bye"),
            "config.yml": "recipe: default.v1\nflavour: x\npolicies:\n- name: BestPolicy\n",
        }
    )
    problems = check_assistant(folder, {})
    assert [problem.level for problem in problems] == sorted(problem.level for problem in problems)
    found = " | ".join(problem.message for problem in problems)
    for part in ("'gret'", "'utter_bye'", "unknown key 'flavour'", "BestPolicy"):
        assert part in found


@pytest.mark.parametrize("name", ["my/shop", "my shop", "..", ".hidden", "a" * 65])
def test_an_assistant_id_that_cannot_name_a_folder_is_an_error_with_its_line(project: Write, name: str) -> None:
    folder = project({"config.yml": f'language: en\nassistant_id: "{name}"\n'})
    with pytest.raises(AssistantError, match="cannot name a folder") as caught:
        load_assistant(folder, {})
    assert "config.yml:2" in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("shop", "shop"), ("Our shop (new)", "Our-shop-new"), ("客服 店", "客服-店"), ("!", "assistant")],
)
def test_without_an_assistant_id_the_folder_names_it(tmp_path: Path, folder: str, expected: str) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "domain.yml").write_text(DOMAIN, encoding="utf-8")
    assert load_assistant(tmp_path / folder, {}).assistant_id == expected


def test_a_folder_without_a_domain_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AssistantError, match="no domain"):
        load_assistant(tmp_path, {})


def test_fingerprints_change_only_with_what_they_name(project: Write, tmp_path: Path) -> None:
    nlu = "nlu:\n- intent: greet\n  examples: |\n    - hi\n"
    before = load_assistant(project({"data/nlu.yml": nlu, "data/s.yml": STORY}), {})
    moved = load_assistant(project({"data/nlu.yml": "# moved\n\n" + nlu, "data/s.yml": "\n\n" + STORY}), {})
    assert (moved.nlu_fingerprint, moved.dialogue_fingerprint) == (before.nlu_fingerprint, before.dialogue_fingerprint)
    worded = load_assistant(project({"domain.yml": DOMAIN.replace("Hello", "Hi!")}), {})
    assert worded.nlu_fingerprint == before.nlu_fingerprint
    assert worded.dialogue_fingerprint != before.dialogue_fingerprint
    taught = load_assistant(project({"domain.yml": DOMAIN, "data/nlu.yml": nlu + "    - hello\n"}), {})
    assert taught.nlu_fingerprint != before.nlu_fingerprint
    assert taught.dialogue_fingerprint == before.dialogue_fingerprint


def test_tests_of_the_assistant_are_not_training_data(project: Write) -> None:
    folder = project(
        {
            "tests/nlu_en.yml": "nlu:\n- intent: greet\n  examples: |\n    - good day\n",
            "tests/sentiment_zh.csv": "text,label\n好的,neutral\n",
            "tests/conversations.yml": """
version: 1
conversations:
- name: hello
  language: en
  steps:
  - user: hi
    actions: [utter_greet]
    slots: {number: null}
""",
        }
    )
    tests = load_tests(folder)
    assert load_assistant(folder, {}).nlu.examples == ()
    assert [(e.text, e.language) for e in tests.nlu.examples] == [("good day", "en")]
    assert [(s.text, s.language) for s in tests.sentiment] == [("好的", "zh")]
    [conversation] = tests.conversations
    [step] = conversation.steps
    assert (conversation.name, conversation.language) == ("hello", "en")
    assert (step.user, step.actions, step.slots) == ("hi", ("utter_greet",), {"number": None})


def test_starter_has_no_problems() -> None:
    starter = Path(__file__).parents[2] / "bot" / "starter"
    assert check_assistant(starter, {}) == ()


def generation_of(project: Write, text: str) -> GenerationConfig:
    return load_assistant(project({"kefu.yml": text}), {"KEY": "secret"}).config.generation


def test_answers_are_quoted_unless_generation_is_turned_on(project: Write) -> None:
    assert not generation_of(project, "base: ngram\n").is_on
    assert not generation_of(project, "generation: off\n").is_on
    local = generation_of(project, "generation: on\n")
    assert (local.is_on, local.server) == (True, None)
    served = generation_of(
        project,
        "generation:\n  server: http://llm:8080/v1\n  model: qwen\n  api_key: ${KEY}\n  languages: [zh]\n"
        "  deadline_s: 2.5\n  prices: {prompt: 0.2}\n  stream: true\n",
    )
    assert served == GenerationConfig(
        is_on=True, server="http://llm:8080/v1", model="qwen", api_key="secret", languages=("zh",), deadline_s=2.5,
        prices={"prompt": 0.2}, stream=True,
    )  # fmt: skip
    assert not local.stream, "what was said cannot be taken back"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("generation: maybe\n", "neither off nor a map"),
        ("generation: {server: llm, model: x}\n", "'llm' is no address"),
        ("generation: {server: 'http://llm/v1'}\n", "`model` is missing"),
        ("generation: {languages: en}\n", "a list"),
        ("generation: {prices: 5}\n", "a mapping"),
        ("generation: {stream: 2}\n", "true or false"),
        ("generation: {deadline_s: 0}\n", "nothing is written in 0 seconds"),
    ],
)
def test_a_generator_that_cannot_be_asked_is_an_error_with_its_place(project: Write, text: str, said: str) -> None:
    with pytest.raises(AssistantError, match=f"kefu.yml:1.*{said}"):
        generation_of(project, text)
