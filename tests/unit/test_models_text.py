"""Reading text without a model: language by script, entities by rule, n-grams."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.entities import EntityMatcher, EntityRules, LookupValue
from models.languages import identify_language
from models.ngrams import NgramVocabulary, normalise


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("where is my order?", "en"),
        ("hello", "en"),
        ("Thanks!", "en"),
        ("I'd like to talk to a person", "en"),
        ("我的订单到哪了", "zh"),
        ("我的订单A-1001到哪了", "zh"),
        ("好的", "zh"),
        ("我想买一个 MacBook Pro 电脑", "zh"),
        ("I want to buy the 灯 please", "en"),
        ("OK", "und"),
        ("ok", "und"),
        ("bye~", "und"),
        ("yes", "und"),
        ("yes please", "en"),
        ("A-1001", "und"),
        ("👍", "und"),
        ("", "und"),
        ("12:30", "und"),
        ("jane.doe@example.com", "und"),
        ("https://example.com/where/is/my/order", "und"),
        ("Wo ist meine Bestellung", "und"),
        ("dónde está mi pedido", "und"),
        ("注文はどこですか", "ja"),
        ("주문이 어디에 있나요", "ko"),
    ],
)
def test_language_of(text: str, language: str) -> None:
    assert identify_language(text) == language


RULES = EntityRules(
    regexes=(("order_number", r"\b[A-Z]-\d{4}\b"), ("email", r"[\w.]+@[\w.]+\.\w+")),
    lookups=(
        LookupValue(entity="product", text="lamp"),
        LookupValue(entity="product", text="desk lamp"),
        LookupValue(entity="product", text="台灯"),
        LookupValue(entity="city", text="Berlin", role="to"),
    ),
    synonyms={"台灯": "desk lamp", "desk lamp": "desk lamp"},
)


def found(text: str) -> list[tuple[str, object, str]]:
    return [(e.entity, e.value, text[e.start : e.end]) for e in EntityMatcher(RULES).find(text)]


def test_patterns_match_inside_chinese_text_where_there_are_no_blanks() -> None:
    assert found("我的订单A-1001到哪了") == [("order_number", "A-1001", "A-1001")]


def test_word_boundaries_still_hold_between_latin_words() -> None:
    assert found("AA-1001 and A-10012") == []
    assert found("order a-1001.") == [("order_number", "a-1001", "a-1001")]


def test_lookups_are_whole_words_longest_first_and_mapped_to_synonyms() -> None:
    assert found("a Desk Lamp, not clamps") == [("product", "desk lamp", "Desk Lamp")]
    assert found("我要买台灯两个") == [("product", "desk lamp", "台灯")]


def test_role_of_a_lookup_is_kept_and_spans_never_overlap() -> None:
    (entity,) = EntityMatcher(RULES).find("ship to berlin")
    assert (entity.entity, entity.role, entity.value) == ("city", "to", "berlin")


def test_boundary_inside_a_character_class_is_left_alone() -> None:
    matcher = EntityMatcher(EntityRules(regexes=(("odd", r"[\bx]y"),)))
    assert [e.value for e in matcher.find("xy")] == ["xy"]


def test_a_pattern_that_would_run_for_ever_is_given_up_and_the_others_still_match() -> None:
    matcher = EntityMatcher(EntityRules(regexes=(("slow", r"(\w+\w*)+:$"), ("number", r"\d{4}"))))
    started = time.perf_counter()
    entities = matcher.find("a" * 5_000 + " 1001")
    assert [e.entity for e in entities] == ["number"]
    assert time.perf_counter() - started < 5


def test_a_pattern_that_does_not_compile_names_its_entity() -> None:
    with pytest.raises(ValueError, match=r"order_number.*does not compile"):
        EntityMatcher(EntityRules(regexes=(("order_number", "([a-z]"),)))


def test_rules_survive_saving(tmp_path: Path) -> None:
    RULES.save(tmp_path / "entities.json")
    assert EntityRules.load(tmp_path / "entities.json") == RULES


@given(st.text(max_size=80))
def test_entities_lie_inside_the_text_in_order_and_apart(text: str) -> None:
    matcher = EntityMatcher(EntityRules(regexes=(("word", r"\b\w+"), ("pair", r"..")), lookups=RULES.lookups))
    last = 0
    for entity in matcher.find(text):
        assert last <= entity.start < entity.end <= len(text)
        last = entity.end


TEXTS = ("where is my order", "where is it", "我的订单到哪了", "订单到了吗", "my order please")


def vocabulary(min_count: int = 1) -> NgramVocabulary:
    return NgramVocabulary.learn(TEXTS, longest=4, word_pairs=True, min_count=min_count, max_features=500)


def test_normalise_folds_width_case_blanks_and_digits() -> None:
    assert normalise("  ＯＲＤＥＲ　a-1001\n") == "order a-0000"


def test_vectors_have_length_one_or_nothing() -> None:
    vector = vocabulary().vector("WHERE is the order 订单")
    assert np.linalg.norm(vector.weights) == pytest.approx(1, abs=1e-5)
    assert (np.diff(vector.indices) > 0).all()
    assert len(vocabulary().vector("zzz").indices) == 0
    assert len(vocabulary().vector("").indices) == 0


def test_words_pairs_and_chinese_characters_are_features() -> None:
    grams = set(vocabulary().grams)
    assert {"w:order", "w:my order", "订单", "单"} <= grams
    assert "orde" in grams
    assert "or" not in grams


def test_rare_grams_are_dropped_and_the_commonest_kept() -> None:
    assert "w:it" not in vocabulary(min_count=2).grams
    few = NgramVocabulary.learn(TEXTS, longest=4, word_pairs=True, min_count=1, max_features=10)
    assert len(few.grams) == 10
    assert all(sum(gram.strip() in text for text in TEXTS) >= 2 for gram in few.grams)


def test_vocabulary_survives_saving(tmp_path: Path) -> None:
    made = vocabulary()
    made.save(tmp_path / "ngrams.npz")
    loaded = NgramVocabulary.load(tmp_path / "ngrams.npz")
    assert loaded.grams == made.grams
    before, after = made.vector(TEXTS[0]), loaded.vector(TEXTS[0])
    assert (before.indices == after.indices).all()
    assert (before.weights == after.weights).all()


@given(st.text(max_size=60))
def test_any_text_has_a_finite_vector(text: str) -> None:
    vector = vocabulary().vector(text)
    assert np.isfinite(vector.weights).all()
