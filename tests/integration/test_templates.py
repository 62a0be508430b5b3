"""The other trades of `kefu init --template`: valid files, their conversations, and the clinic's emergencies.

The model here is a character n-gram one, made in seconds; how well a pretrained base reads these trades is not tested.
"""

from __future__ import annotations

import asyncio
import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.app import actions_of
from bot.assistant.domain import DEFAULT_INTENTS
from bot.assistant.loader import Assistant, check_assistant, load_assistant, load_tests
from bot.assistant.stories import OrStep, UserStep
from bot.cli import TEMPLATES
from bot.dialogue.manager import BotMessage, Turn, UserMessage, turn
from bot.dialogue.policies import check_dialogue
from bot.dialogue.tracker import DISCLOSURE, Tracker
from bot.learning import Candidate
from bot.rasa.action_server import InProcessActions
from bot.rehearsal import UNNAMED_ACTIONS, ConversationResult, play_conversations
from bot.turns import Bot, drive
from models.base import KIND
from models.entities import EntityMatcher, EntityRules
from models.registry import Registry
from models.understanding import TrainedUnderstander, load_understander
from tests import emergency_phrases as phrases
from tests.server import kefu

TRADES = ("bank", "clinic")
HAN = re.compile(r"[\u4e00-\u9fff]")
FOLDERS = {trade: TEMPLATES[trade] for trade in TRADES}
ALARM = ["utter_emergency", "action_handoff", "action_forget_details"]
EMERGENCIES = [
    *((text, "body") for text in (*phrases.BODY_EN, *phrases.BODY_ZH)),
    *((text, "mind") for text in (*phrases.MIND_EN, *phrases.MIND_ZH)),
    *((text, None) for text in (*phrases.MORE_EN, *phrases.MORE_ZH)),
]


# Files


@pytest.mark.parametrize("trade", TRADES)
def test_files_are_valid_without_a_warning(trade: str) -> None:
    assert check_assistant(FOLDERS[trade], {}) == ()
    assert list(check_dialogue(load_assistant(FOLDERS[trade], {}))) == []


@pytest.mark.parametrize("trade", TRADES)
def test_every_intent_has_examples_and_tests_in_both_languages(trade: str) -> None:
    assistant, tests = load_assistant(FOLDERS[trade], {}), load_tests(FOLDERS[trade])
    intents = set(assistant.domain.intents) - set(DEFAULT_INTENTS) | {"out_of_scope"}
    assert 14 <= len(intents) <= 18
    for intent in intents:
        for language in ("en", "zh"):
            examples, held_out = (
                {e.text.casefold() for e in data if (e.intent, e.language) == (intent, language)}
                for data in (assistant.nlu.examples, tests.nlu.examples)
            )
            assert len(examples) >= 16, (intent, language)
            assert len(held_out) >= 6, (intent, language)
            assert not examples & held_out


@pytest.mark.parametrize("trade", TRADES)
def test_every_response_speaks_both_languages_and_its_buttons_as_well(trade: str) -> None:
    for name, variations in load_assistant(FOLDERS[trade], {}).domain.responses.items():
        languages = [dict(variation.conditions).get("language") for variation in variations]
        assert set(languages) == {"en", "zh", None}, name
        assert languages.index(None) == len(languages) - 1, name
        for variation, language in zip(variations, languages, strict=True):
            titles = [button["title"] for button in variation.body.get("buttons") or ()]
            for title in titles:
                assert bool(HAN.search(title)) is (language == "zh"), f"{name}: {title}"
            if language:
                # An address to show a taxi driver, and the Chinese name of public insurance, may stand in English.
                share = len(HAN.findall(variation.body["text"])) / len(variation.body["text"])
                assert share > 0.2 if language == "zh" else share < 0.05, name


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("trade", TRADES)
@pytest.mark.parametrize(("one", "other"), [("primary", "on_primary"), ("background", "text")])
def test_colours_can_be_read(trade: str, one: str, other: str) -> None:
    colors = load_assistant(FOLDERS[trade], {}).brand.colors
    light, dark = sorted((_luminance(colors[name]) for name in (one, other)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_the_wheel_is_told_to_carry_the_templates() -> None:
    package_data = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {"templates/**/*", "templates/*/.gitignore"} <= set(package_data["package-data"]["bot"])


# `kefu init`


@pytest.mark.parametrize(("options", "assistant_id"), [
    ((), "kefu-starter"),
    (("--template", "shop"), "kefu-starter"),
    (("--template", "bank"), "bank-assistant"),
    (("--template", "clinic"), "clinic-front-desk"),
])  # fmt: skip
def test_init_makes_the_trade_that_was_asked_for(options: tuple[str, ...], assistant_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    kefu("init", str(folder), *options, home=tmp_path)
    assert load_assistant(folder, {}).assistant_id == assistant_id
    assert (folder / ".gitignore").exists()
    assert not list(folder.rglob("__pycache__"))


def test_init_says_what_each_trade_is_and_refuses_others(tmp_path: Path) -> None:
    told = kefu("init", "--help", home=tmp_path).stdout
    assert all(word in told for word in ("shop", "bank", "clinic", "dispute", "department"))
    refused = kefu("init", str(tmp_path / "x"), "--template", "bakery", home=tmp_path, check=False)
    assert refused.returncode != 0
    assert "clinic" in refused.stderr
    assert not (tmp_path / "x").exists()


# Conversations, with a model


@pytest.fixture(scope="module", params=TRADES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A trade, trained by the real command on the base that needs no download."""
    trade, home = str(request.param), tmp_path_factory.mktemp(f"{request.param}-home")
    kefu("train", str(FOLDERS[trade]), "--base", "ngram", home=home, timeout=300)
    assistant = load_assistant(FOLDERS[trade], {})
    registry = Registry(home / "models", assistant.assistant_id)
    version = registry.current(KIND)
    assert version is not None
    return trade, assistant, load_understander(registry.path(KIND, version), 1)


Trained = tuple[str, Assistant, TrainedUnderstander]


def test_conversations_go_as_written(trained: Trained) -> None:
    trade, assistant, reader = trained
    conversations = load_tests(FOLDERS[trade]).conversations
    for language in ("en", "zh"):
        assert sum(conversation.language == language for conversation in conversations) >= 10

    async def play() -> list[ConversationResult]:
        bot = Bot.of(assistant, actions_of(assistant))
        try:
            return await play_conversations(bot, Candidate(reader), conversations)
        finally:
            await bot.actions.close()

    failed = [result.diff() for result in asyncio.run(play()) if not result.passed]
    assert not failed, "\n\n".join(failed)


def test_even_character_ngrams_read_most_held_out_messages(trained: Trained) -> None:
    """A floor far under what a pretrained base reaches; it falls when examples and intents drift apart."""
    trade, _, reader = trained
    for language in ("en", "zh"):
        messages = [e for e in load_tests(FOLDERS[trade]).nlu.examples if e.language == language]
        read = reader.read([message.text for message in messages])
        right = sum(seen.intent.name == m.intent for seen, m in zip(read, messages, strict=True))
        assert right / len(messages) >= 0.6, (language, right, len(messages))


# Turns, understood as the test says


class Talk:
    """A conversation whose messages are understood as the test wants, with the trade's real actions."""

    def __init__(self, bot: Bot, loop: asyncio.AbstractEventLoop) -> None:
        self._bot, self._loop, self._count = bot, loop, 0
        self.tracker = Tracker.empty(bot.assistant.domain, "patient")
        self.last: Turn | None = None

    def say(
        self,
        text: str,
        intent: str,
        *,
        entities: tuple[str, ...] = (),
        sentiment: str = "neutral",
        language: str = "en",
    ) -> list[str]:
        """One turn; the actions of it."""
        self._count += 1
        parse_data = {
            "text": text,
            "intent": {"name": intent, "confidence": 0.9},
            "entities": [{"entity": name, "value": text, "start": 0, "end": len(text)} for name in entities],
        }
        message = UserMessage(
            text=text,
            parse_data=parse_data,
            input_channel="rest",
            message_id=str(self._count),
            language=language,
            sentiment=sentiment,
        )
        steps = turn(self.tracker, message, self._bot.dialogue, 1_700_000_000.0 + self._count, random.Random(1))
        self.last = self._loop.run_until_complete(drive(steps, self._bot.actions, 5.0))
        self.tracker = self.last.tracker
        names = [event.to_json().get("name") for event in self.last.events if event.type_name == "action"]
        return [str(name) for name in names if name not in UNNAMED_ACTIONS]

    @property
    def messages(self) -> list[BotMessage]:
        """What the last turn said, without the sentence that a machine speaks."""
        assert self.last is not None
        return [message for message in self.last.messages if message.metadata.get("utter_action") != DISCLOSURE]

    @property
    def said(self) -> list[str]:
        """The responses of the last turn, by name."""
        return [str(message.metadata.get("utter_action")) for message in self.messages]

    @property
    def words(self) -> str:
        return "\n".join(str(message.body.get("text")) for message in self.messages)

    def slot(self, name: str) -> object:
        return self.tracker.situation.slots.get(name)


class Desk:
    """A loaded trade and the loop its actions are awaited on."""

    def __init__(self, trade: str) -> None:
        self.assistant = load_assistant(FOLDERS[trade], {})
        self.loop = asyncio.new_event_loop()
        self.bot = Bot.of(self.assistant, actions_of(self.assistant))

    def talk(self) -> Talk:
        return Talk(self.bot, self.loop)

    def close(self) -> None:
        self.loop.run_until_complete(self.bot.actions.close())
        self.loop.close()


@pytest.fixture(scope="module")
def clinic() -> Iterator[Desk]:
    desk = Desk("clinic")
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def bank() -> Iterator[Desk]:
    desk = Desk("bank")
    yield desk
    desk.close()


# Emergencies

# What was said before: every place in which a rule, a story or a form could want something else.
BEFORE: dict[str, tuple[tuple[str, str], ...]] = {
    "first words": (),
    "after a greeting": (("hello", "greet"),),
    "after a department": (("sore throat", "describe_symptom"),),
    "asked for the department": (("an appointment", "book_appointment"),),
    "asked for the day": (("an appointment", "book_appointment"), ("eye department", "inform")),
    "asked for the contact": (
        ("an appointment", "book_appointment"),
        ("eye department", "inform"),
        ("tomorrow", "inform"),
        ("on Monday then", "inform"),
    ),
    "form interrupted": (("an appointment", "book_appointment"), ("when are you open", "opening_hours")),
    "asked whom to call": (("a person please", "human_handoff"),),
    "hand-over interrupted": (("a person please", "human_handoff"), ("yes", "affirm")),
    "after an emergency": (("my chest hurts", "describe_symptom"),),
    "after a refusal": (("a person please", "human_handoff"), ("no", "deny")),
}


@pytest.mark.parametrize("before", BEFORE)
def test_an_emergency_wins_over_every_intent_and_inside_every_form(clinic: Desk, before: str) -> None:
    """Only the words tell: the model names another intent and finds no entity."""
    for intent in clinic.assistant.domain.intents:
        if intent in ("restart", "back", "session_start"):
            continue
        talk = clinic.talk()
        for text, understood in BEFORE[before]:
            talk.say(text, understood)
        done = talk.say("tomorrow, jo@example.com, my chest hurts and I can't breathe", intent)
        assert done[-3:] == ALARM, (intent, done)
        assert set(done[:-3]) <= {"appointment_form", "handoff_form"}, (intent, done)
        assert talk.said == ["utter_emergency"], (intent, talk.said)
        assert "120" in talk.words
        assert talk.tracker.situation.loop_name is None
        assert talk.slot("appointment_contact") is None, "half a request must not go on after an emergency"


@pytest.mark.parametrize("before", BEFORE)
def test_the_entity_alone_and_the_intent_alone_are_enough(clinic: Desk, before: str) -> None:
    for entities, intent in ((("emergency",), "greet"), (("crisis",), "inform"), ((), "emergency")):
        talk = clinic.talk()
        for text, understood in BEFORE[before]:
            talk.say(text, understood)
        assert talk.say("words that no pattern knows", intent, entities=entities)[-3:] == ALARM


@pytest.mark.parametrize(("text", "kind"), EMERGENCIES)
def test_emergency_words_hand_over_whatever_the_model_thinks(clinic: Desk, text: str, kind: str | None) -> None:
    talk = clinic.talk()
    language = "zh" if HAN.search(text) else "en"
    assert talk.say(text, "opening_hours", language=language) == ALARM
    assert talk.slot("emergency") == kind or (kind is None and talk.slot("emergency") in ("body", "mind"))
    assert bool(HAN.search(talk.words)) is (language == "zh")
    assert ("12356" in talk.words) is (talk.slot("emergency") == "mind")
    handoffs = [event for event in talk.last.events if event.type_name == "handoff"]  # type: ignore[union-attr]
    assert [event.to_json()["reason"] for event in handoffs] == ["emergency"]


@pytest.mark.parametrize("text", [*phrases.NEGATED_EN, *phrases.NEGATED_ZH])
def test_a_denied_emergency_is_handed_over_too(clinic: Desk, text: str) -> None:
    """Patterns do not read "no": one call too many is the smaller harm."""
    assert clinic.talk().say(text, "describe_symptom") == ALARM


@pytest.mark.parametrize("text", [*phrases.HARMLESS_EN, *phrases.HARMLESS_ZH])
def test_ordinary_messages_raise_no_alarm(clinic: Desk, text: str) -> None:
    talk = clinic.talk()
    assert "utter_emergency" not in talk.say(text, "describe_symptom")
    assert talk.slot("emergency") is None


@pytest.mark.parametrize(
    "text",
    [
        "ｃｈｅｓｔ　ｐａｉｎ",
        "chest\u200b pain",
        "CHEST   PAIN",
        "胸 口 好 痛",
        "胸，口，疼",
        "喘 不 过 气",
        "喘\u200b不上气",
    ],
)
def test_odd_typing_hides_no_emergency(clinic: Desk, text: str) -> None:
    assert clinic.talk().say(text, "inform") == ALARM


def test_the_entities_alone_find_them_as_well() -> None:
    """The same patterns, as the model's entities: with another engine, and with nothing from actions/."""
    assistant = load_assistant(FOLDERS["clinic"], {})
    matcher = EntityMatcher(EntityRules(regexes=assistant.nlu.regexes))
    for text, _ in EMERGENCIES:
        assert {"emergency", "crisis"} & {entity.entity for entity in matcher.find(text)}, text


def test_without_the_actions_the_entity_still_hands_over(clinic: Desk) -> None:
    """An action that fails counts as executed with nothing done; the slot is then filled by its mapping."""
    crippled = Bot.of(clinic.assistant, InProcessActions({}))
    talk = Talk(crippled, clinic.loop)
    done = talk.say("I have chest pain", "describe_symptom", entities=("emergency",))
    assert done[:2] == ["utter_emergency", "action_handoff"]
    assert "120" in talk.words
    assert "12356" in talk.words
    clinic.loop.run_until_complete(crippled.actions.close())


def test_the_rule_for_emergencies_names_every_intent_of_the_domain(clinic: Desk) -> None:
    [rule] = [rule for rule in clinic.assistant.rules if rule.name == "Emergency, whatever was said"]
    [listed] = [step for step in rule.steps if isinstance(step, OrStep)]
    named = {step.intent for step in listed.alternatives if isinstance(step, UserStep)}
    written = {
        intent for intent in clinic.assistant.domain.intents if intent not in ("restart", "back", "session_start")
    }
    assert named == written


def test_an_emergency_is_over_with_the_next_message(clinic: Desk) -> None:
    talk = clinic.talk()
    talk.say("I have chest pain", "describe_symptom")
    assert talk.say("thanks", "thank") == ["utter_welcome"]
    assert (talk.slot("emergency"), talk.slot("handoff_reason")) == (None, None)
    assert talk.say("my chest hurts again", "thank") == ALARM


# Departments, never a diagnosis

DISEASES = re.compile(
    r"infection|cancer|diabet|tumou?r|flu(?![a-z])|pneumonia|migraine|arthritis|allerg(?:y|ies)|infarct"
    r"|you (?:may |might )?have"
    r"|感染|癌|糖尿病|肿瘤|流感|肺炎|偏头痛|关节炎|过敏|您得了|可能是",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("text", "department"),
    [
        ("sore throat since Sunday", "ent"),
        ("my son has a fever and a cough", "paediatrics"),
        ("is it diabetes? always thirsty", "general"),
        ("toothache, upper left", "dentistry"),
        ("a mole that changed colour, is it cancer?", "dermatology"),
        ("something odd that no word fits", "general"),
        ("我是不是得糖尿病了，总口渴", "general"),
        ("月经一直不准", "gynaecology"),
        ("晚上失眠，总是焦虑", "mind"),
        ("宝宝老是抓耳朵", "paediatrics"),
        ("眼前老有黑点飘", "eyes"),
    ],
)
def test_a_symptom_leads_to_a_department_and_to_nothing_else(clinic: Desk, text: str, department: str) -> None:
    talk = clinic.talk()
    language = "zh" if HAN.search(text) else "en"
    assert talk.say(text, "describe_symptom", language=language) == ["action_name_department"]
    assert talk.slot("department") == department
    assert not DISEASES.search(talk.words), talk.words
    assert "120" in talk.words


# Mood


def test_two_annoyed_messages_in_a_row_offer_a_person_before_the_answer(bank: Desk) -> None:
    talk = bank.talk()
    assert talk.say("why on earth did you take 4 pounds", "fees", sentiment="negative") == ["utter_fees"]
    assert "utter_offer_person" not in talk.said
    talk.say("and my transfer is stuck, ridiculous", "transfers", sentiment="negative")
    assert talk.said == ["utter_offer_person", "utter_transfers"]
    assert talk.say("yes", "affirm") == ["handoff_form"]


def test_the_offer_holds_for_one_message_and_is_made_once_per_bad_patch(bank: Desk) -> None:
    talk = bank.talk()
    for text in ("bad", "worse"):
        talk.say(text, "fees", sentiment="negative")
    talk.say("still bad", "fees", sentiment="negative")
    assert talk.said == ["utter_fees"]
    assert talk.say("ok", "affirm") == ["utter_affirm"]
    for text in ("bad", "worse"):
        talk.say(text, "fees", sentiment="negative")
    assert talk.said == ["utter_offer_person", "utter_fees"]


def test_a_button_and_a_form_that_starts_count_no_mood_twice(bank: Desk) -> None:
    talk = bank.talk()
    talk.say("who took my money", "dispute_payment", sentiment="negative")
    assert talk.slot("annoyed_messages") == 1.0
    talk.say("/fees", "fees", sentiment="negative")
    assert talk.slot("annoyed_messages") == 1.0
    assert talk.say("Blue Kettle, the crooks", "inform", sentiment="negative") == ["dispute_form"]
    assert talk.said == ["utter_offer_person", "utter_ask_dispute_amount"]
    assert talk.say("yes", "affirm") == ["utter_continue", "dispute_form"], "a yes inside a form is the form's"
