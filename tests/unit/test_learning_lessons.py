"""What a model learns from: files, reviewed labels, never a test message, never personal data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from bot.assistant.loader import load_assistant
from bot.lessons import collect_lessons, fixed_tests, text_of, training_data
from bot.storage.predictions import LabelledText
from tests.learning import SMALL_SHOP, nlu, write_assistant
from training.dataset import UnderstandingData


def label(text: str, intent: str | None, *, number: int = 1, sentiment: str | None = None) -> LabelledText:
    return LabelledText(
        prediction_id=number,
        conversation_id=number,
        text=text,
        language="en",
        intent=intent,
        sentiment=sentiment,
        labelled_by="test",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def intents(data: UnderstandingData) -> dict[str, str]:
    return {utterance.text: utterance.label for utterance in data.intents}


def test_reviewed_labels_join_the_files_examples(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path, SMALL_SHOP)
    learned = intents(training_data(assistant, [label("got a parcel for me somewhere?", "order_status")]))
    assert learned["got a parcel for me somewhere?"] == "order_status"
    assert learned["where is my order"] == "order_status"


def test_personal_data_is_redacted_before_it_is_learned(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path, SMALL_SHOP)
    told = [
        label("write to anna.weber@example.com about my parcel", "order_status", number=1),
        label("call me on +49 30 1234567 when it ships", "order_status", number=2, sentiment="neutral"),
    ]
    data = training_data(assistant, told)
    everything = " ".join(u.text for u in (*data.intents, *data.sentiment))
    assert "anna" not in everything
    assert "1234567" not in everything
    assert intents(data)["write to [email] about my parcel"] == "order_status"
    assert "call me on [phone] when it ships" in {u.text for u in data.sentiment}


def test_nothing_of_the_fixed_tests_enters_training(tmp_path: Path) -> None:
    tests = nlu({"greet": ("Hullo there", "where is MY order", "mail a@b.org")})
    assistant = write_assistant(tmp_path, SMALL_SHOP | {"tests/nlu_en.yml": tests})
    told = [
        label("hullo   THERE", "goodbye", number=1),
        label("mail other@person.example", "goodbye", number=2),
        label("a new one", "goodbye", number=3),
    ]
    fixed = fixed_tests(assistant)
    data = training_data(assistant, told)
    assert fixed.intents_from == "files"
    assert "where is my order" not in intents(data), "a training example that is also a test message"
    assert fixed.keys.isdisjoint({text_of(u.text) for u in (*data.intents, *data.sentiment)})
    assert intents(data)["a new one"] == "goodbye"


def test_without_test_files_a_stable_share_is_held_out_and_said_so(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path, SMALL_SHOP)
    fixed = fixed_tests(assistant)
    assert fixed.intents_from == "hold-out"
    assert fixed.intents
    assert "kept out of training" in fixed.notices[0]
    greetings = [u for u in fixed.intents if u.label == "greet"]
    fewer = SMALL_SHOP["data/nlu.yml"].replace("    - good day to you\n", "")
    nine = fixed_tests(write_assistant(tmp_path / "fewer", SMALL_SHOP | {"data/nlu.yml": fewer}))
    assert greetings
    assert not [u for u in nine.intents if u.label == "greet"], "nine examples are all needed"
    data = training_data(assistant)
    assert {u.text for u in fixed.intents}.isdisjoint(intents(data))
    assert len(data.intents) + len(fixed.intents) == len({text_of(e.text) for e in assistant.nlu.examples})

    more = SMALL_SHOP["data/nlu.yml"].replace(
        "    - where is my order\n", "    - where is my order\n    - a late addition\n"
    )
    grown = write_assistant(tmp_path / "grown", SMALL_SHOP | {"data/nlu.yml": more})
    assert {u.text for u in fixed.intents} <= {u.text for u in fixed_tests(grown).intents}


def test_small_intents_keep_all_their_examples(tmp_path: Path) -> None:
    four = {name: tuple(f"{name} number {n}" for n in range(4)) for name in ("greet", "goodbye", "order_status")}
    fixed = fixed_tests(write_assistant(tmp_path, SMALL_SHOP | {"data/nlu.yml": nlu(four)}))
    assert (fixed.intents, fixed.intents_from) == ((), "none")


def test_the_later_label_of_a_text_wins_and_the_files_win_over_both(tmp_path: Path) -> None:
    tests = {"tests/nlu_en.yml": "nlu:\n- intent: greet\n  examples: |\n    - Hullo there\n"}
    assistant = write_assistant(tmp_path, SMALL_SHOP | tests)
    told = [
        label("ta-ta", "greet", number=1),
        label("Ta-ta", "goodbye", number=2),
        label("Where is my order", "goodbye", number=3),
    ]
    lessons = collect_lessons(assistant, told, fixed_tests(assistant))
    assert intents(lessons.data)["Ta-ta"] == "goodbye"
    assert "ta-ta" not in intents(lessons.data)
    assert intents(lessons.data)["where is my order"] == "order_status"
    assert lessons.reviewed == 1
    [notice] = lessons.notices
    assert "nlu.yml:" in notice
    assert "'order_status' there, 'goodbye' in the review" in notice


def test_a_lone_label_of_an_intent_without_examples_waits_for_a_second(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path, SMALL_SHOP)
    one = collect_lessons(assistant, [label("who won the cup", "out_of_scope")], fixed_tests(assistant))
    assert "out_of_scope" not in intents(one.data).values()
    assert "'out_of_scope' is not learned yet" in one.notices[0]
    two = [label("who won the cup", "out_of_scope"), label("solve x+1=3", "out_of_scope", number=2)]
    assert list(intents(training_data(assistant, two)).values()).count("out_of_scope") == 2


def test_skipped_labels_teach_nothing(tmp_path: Path) -> None:
    assistant = write_assistant(tmp_path, SMALL_SHOP)
    assert training_data(assistant, [label("asdf", None)]).sha256() == training_data(assistant).sha256()


def test_test_messages_of_unlearnable_intents_are_left_out_aloud(tmp_path: Path) -> None:
    tests = nlu({"out_of_scope": ("who won",), "greet": ("hiya",)})
    fixed = fixed_tests(write_assistant(tmp_path, SMALL_SHOP | {"tests/nlu_en.yml": tests}))
    assert [u.text for u in fixed.intents] == ["hiya"]
    assert "1 test messages of the intent 'out_of_scope' are left out" in fixed.notices[0]


def test_the_starters_sentiment_serves_where_a_project_has_none(tmp_path: Path) -> None:
    files = {name: content for name, content in SMALL_SHOP.items() if not name.startswith("sentiment/")}
    data = training_data(write_assistant(tmp_path, files))
    assert {u.label for u in data.sentiment} == {"negative", "neutral", "positive"}
    assert {u.language for u in data.sentiment} == {"en", "zh"}


def test_entities_of_the_files_become_rules_undeclared_ones_do_not(tmp_path: Path) -> None:
    data = SMALL_SHOP["data/nlu.yml"] + (
        "- regex: order_number\n  examples: |\n    - A-\\d+\n"
        "- regex: greeting_feature\n  examples: |\n    - h(i|ello)\n"
        "- lookup: order_number\n  examples: |\n    - first order\n"
    )
    domain = SMALL_SHOP["domain.yml"] + "entities: [order_number]\n"
    rules = training_data(write_assistant(tmp_path, SMALL_SHOP | {"data/nlu.yml": data, "domain.yml": domain})).entities
    assert rules.regexes == (("order_number", "A-\\d+"),)
    assert [value.text for value in rules.lookups] == ["first order"]


def test_loading_again_gives_the_same_data(tmp_path: Path) -> None:
    first = write_assistant(tmp_path, SMALL_SHOP)
    assert training_data(first).sha256() == training_data(load_assistant(tmp_path, {})).sha256()
