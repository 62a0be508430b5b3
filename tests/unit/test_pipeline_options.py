"""RegexEntityExtractor and KeywordIntentClassifier of a pipeline: their options reach what is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.assistant.loader import Assistant, load_assistant
from bot.lessons import training_data
from models.base import ArtifactInvalid
from models.entities import EntityMatcher, EntityRules
from models.keywords import KeywordRules
from models.pretrained import ngram_base
from models.understanding import KEYWORDS, load_understander
from training.dataset import UnderstandingData
from training.finetune_understanding import Recipe, train_understanding

DOMAIN = "intents: [greet, order]\nentities: [city, code]\n"
NLU = """nlu:
- intent: greet
  examples: |
    - hello
    - hi there
- intent: order
  examples: |
    - order
    - I want to buy
- lookup: city
  examples: |
    - Rom
- regex: code
  examples: |
    - A-\\d+
"""
MOODS = "text,label\ngood,positive\nbad,negative\nso,neutral\n"


def project(folder: Path, config: str) -> Assistant:
    files = {"domain.yml": DOMAIN, "data/nlu.yml": NLU, "config.yml": config, "sentiment/en.csv": MOODS}
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return load_assistant(folder, {})


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("", {"Rom", "rom", "A-1", "a-1"}),
        ("  case_sensitive: true\n", {"Rom", "A-1"}),
        ("  use_lookup_tables: false\n", {"A-1", "a-1"}),
        ("  use_regexes: false\n", {"Rom", "rom"}),
        ("  use_word_boundaries: false\n", {"Rom", "rom", "A-1", "a-1", "Rom in Romulus"}),
        ("  case_sensitive: true\n  use_word_boundaries: false\n", {"Rom", "A-1", "Rom in Romulus"}),
    ],
)
def test_options_of_the_regex_extractor(tmp_path: Path, options: str, found: set[str]) -> None:
    rules = training_data(project(tmp_path, f"pipeline:\n- name: RegexEntityExtractor\n{options}")).entity_rules()
    file = tmp_path / "rules.json"
    rules.save(file)
    matcher = EntityMatcher(EntityRules.load(file))
    texts = {"Rom": "to Rom now", "rom": "to rom now", "A-1": "A-1", "a-1": "a-1", "Rom in Romulus": "Romulus"}
    assert {name for name, text in texts.items() if matcher.find(text)} == found


def test_an_annotated_value_is_a_word_of_its_own_whatever_lookups_are(tmp_path: Path) -> None:
    assistant = project(tmp_path, "pipeline:\n- name: RegexEntityExtractor\n  use_word_boundaries: false\n")
    (tmp_path / "data" / "more.yml").write_text("nlu:\n- intent: order\n  examples: |\n    - send [it](code) now\n")
    matcher = EntityMatcher(training_data(load_assistant(assistant.root, {})).entity_rules())
    assert matcher.find("send it off")
    assert not matcher.find("a bit")


def test_an_option_changes_the_fingerprint_only_where_it_is_chosen() -> None:
    def sha(*, case_sensitive: bool = False) -> str:
        rules = EntityRules(regexes=(("code", "A"),), case_sensitive=case_sensitive)
        return UnderstandingData(intents=(), entities=rules).sha256()

    assert sha() == "2bf69e26ffd88b1f3ba49c81cf023ce0b4caf1075d22d87a01da857de277d32b"  # as before there were options
    assert sha(case_sensitive=True) != sha()


@pytest.mark.parametrize(
    ("pipeline", "case_sensitive"),
    [
        ("- name: KeywordIntentClassifier\n", True),
        ("- name: KeywordIntentClassifier\n  case_sensitive: false\n", False),
        ("- name: DIETClassifier\n- name: KeywordIntentClassifier\n", True),
        ("- name: KeywordIntentClassifier\n- name: DIETClassifier\n", None),
        ("- name: DIETClassifier\n", None),
    ],
)
def test_keywords_count_where_no_later_component_decides_anew(
    tmp_path: Path, pipeline: str, case_sensitive: bool | None
) -> None:
    keywords = training_data(project(tmp_path, f"pipeline:\n{pipeline}")).keywords
    assert (keywords.case_sensitive if keywords else None) == case_sensitive


EXAMPLES = (("hello", "greet"), ("Good day!", "greet"), ("你好", "greet"), ("pay", "order"), ("how to pay", "help"))


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("well, hello there", "greet"),
        ("Hello there", None),
        ("othello", None),
        ("Good day to you", "greet"),
        ("请问你好吗", "greet"),
        ("how to pay", "help"),
        ("I pay now", None),  # `pay` stands inside an example of another intent, so it says nothing
        ("👍", None),
    ],
)
def test_an_example_that_stands_in_the_message_decides(text: str, intent: str | None) -> None:
    assert KeywordRules.of(EXAMPLES, case_sensitive=True).intent_of(text) == intent


def test_without_regard_to_case() -> None:
    rules = KeywordRules.of(EXAMPLES, case_sensitive=False)
    assert rules.intent_of("HELLO you") == rules.intent_of("good DAY") == "greet"


def test_a_text_of_two_intents_is_no_keyword() -> None:
    rules = KeywordRules.of((("ok", "yes"), ("ok", "fine"), ("sure", "yes")), case_sensitive=True)
    assert (rules.intent_of("ok"), rules.intent_of("sure")) == (None, "yes")


def test_the_first_example_of_the_file_decides() -> None:
    rules = KeywordRules.of((("order", "order"), ("hello", "greet")), case_sensitive=True)
    assert rules.intent_of("hello, my order") == "order"


def test_a_long_text_takes_no_time() -> None:
    rules = KeywordRules.of(((" ".join(["a"] * 30), "x"), ("b", "y")), case_sensitive=True)
    assert rules.intent_of("a " * 20_000) == "x"


def test_a_trained_version_reads_keywords_as_certain(tmp_path: Path) -> None:
    assistant = project(tmp_path, "pipeline:\n- name: KeywordIntentClassifier\n  case_sensitive: false\n")
    out = tmp_path / "version"
    manifest = train_understanding(training_data(assistant), Recipe(threads=1), ngram_base(), out, "small")
    assert KEYWORDS in manifest.files
    [sure, unsure] = load_understander(out, 1).read(["qqq zzz ORDER www", "qqq zzz www"])
    assert (sure.intent.name, sure.intent.confidence, sure.is_out_of_scope) == ("order", 1.0, False)
    assert sum(score.confidence for score in sure.ranking) == 1.0
    assert unsure.intent.confidence < 1.0
    (out / KEYWORDS).write_text("[]")
    with pytest.raises(ArtifactInvalid, match="altered"):
        load_understander(out, 1)
