"""Data: read, de-duplicated, split by group, hashed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import (
    DataError,
    EntityValue,
    UnderstandingData,
    Utterance,
    assign_folds,
    deduplicate,
    draw_shots,
    held_out_folds,
)


def said(text: str, label: str, group: str | None = None) -> Utterance:
    return Utterance(text=text, label=label, group=group)


def test_copies_become_one_with_the_label_most_of_them_carry() -> None:
    kept = deduplicate(
        [
            said("Where is it?", "a"),
            said("new", "c"),
            said("  where IS it?", "b"),
            said("ｗhere is it?", "b"),
            said(" ", "d"),
        ]
    )
    assert [(u.text, u.label) for u in kept] == [("  where IS it?", "b"), ("new", "c")]


def test_of_a_tie_the_earlier_label_stays() -> None:
    assert [u.label for u in deduplicate([said("x", "first"), said("X", "second")])] == ["first"]


utterances = st.lists(
    st.builds(said, st.text("abc ", max_size=4), st.sampled_from("pqr"), st.sampled_from([None, "g1", "g2"])),
    max_size=40,
)


@given(utterances)
def test_deduplicating_twice_changes_nothing(rows: list[Utterance]) -> None:
    once = deduplicate(rows)
    assert deduplicate(once) == once


@given(utterances, st.integers(2, 6), st.integers(0, 3))
def test_a_group_never_lies_on_both_sides(rows: list[Utterance], folds: int, seed: int) -> None:
    assigned = assign_folds(rows, folds, seed)
    assert len(assigned) == len(rows)
    assert all(0 <= fold < folds for fold in assigned)
    for group in ("g1", "g2"):
        assert len({fold for row, fold in zip(rows, assigned, strict=True) if row.group == group}) <= 1
    assert assign_folds(rows, folds, seed) == assigned


def test_folds_hold_equal_shares_of_every_label() -> None:
    rows = [said(str(i), "a" if i % 4 else "b") for i in range(80)]
    assigned = assign_folds(rows, 5, 0)
    for fold in range(5):
        labels = [row.label for row, at in zip(rows, assigned, strict=True) if at == fold]
        assert (labels.count("a"), labels.count("b")) == (12, 4)
    assert assign_folds(rows, 5, 1) != assigned


def data() -> UnderstandingData:
    return UnderstandingData(
        intents=(said("hi", "greet"), said("bye", "leave")),
        sentiment=(said("bad", "negative"), said("good", "positive")),
    )


def test_hash_follows_content_and_not_order_or_origin() -> None:
    first = data()
    moved = replace(first, intents=tuple(replace(u, source="log", group="g") for u in reversed(first.intents)))
    assert moved.sha256() == first.sha256()
    assert replace(first, intents=(said("hi", "leave"), said("bye", "greet"))).sha256() != first.sha256()
    assert replace(first, sentiment=()).sha256() != first.sha256()
    annotated = replace(first.intents[0], entities=(EntityValue(entity="e", text="hi"),))
    assert replace(first, intents=(annotated, first.intents[1])).sha256() != first.sha256()


def test_annotated_values_become_lookups_and_synonyms_once() -> None:
    value = EntityValue(entity="product", text="Trainers", value="shoes")
    rows = tuple(Utterance(text=f"{i} trainers", label="x", entities=(value,)) for i in range(2))
    rules = UnderstandingData(intents=rows).entity_rules()
    assert [(v.entity, v.text) for v in rules.lookups] == [("product", "Trainers")]
    assert rules.synonyms == {"trainers": "shoes"}
    json.dumps([vars(v) for v in rules.lookups])


@pytest.mark.parametrize(
    ("intents", "sentiment", "message"),
    [
        ((said("hi", "greet"), said("hey", "greet")), (), "at least two"),
        ((said("a", "x"), said("c", "y")), (), "every intent has one example only"),
        (tuple(said(text, text[0], group="talk") for text in ("a", "a b", "b", "b a")), (), "of one conversation"),
        ((said("a", "x"), said("b", "x"), said("c", "y"), said("d", "y")), (said("e", "furious"),), "furious"),
    ],
)
def test_data_that_teaches_nothing_is_refused_with_what_to_add(
    intents: tuple[Utterance, ...], sentiment: tuple[Utterance, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        UnderstandingData(intents=intents, sentiment=sentiment).check()


def test_the_only_example_of_a_label_is_held_out_in_no_fold() -> None:
    rows = [said("a", "x"), said("b", "x"), said("c", "y"), said("d", "x")]
    assert [fold == -1 for fold in held_out_folds(rows, 3, 0)] == [False, False, True, False]
    lonely = [said("a", "x"), said("b", "y")]
    assert held_out_folds(lonely, 2, 0) == assign_folds(lonely, 2, 0)


def test_shots_are_so_many_of_each_label_and_differ_by_seed() -> None:
    rows = [said(f"{label} {i}", label) for i in range(30) for label in "ab"] + [said("lonely", "c")]
    drawn = draw_shots(rows, 5, 1)
    assert {label: sum(u.label == label for u in drawn) for label in "abc"} == {"a": 5, "b": 5, "c": 1}
    assert drawn == draw_shots(rows, 5, 1)
    assert drawn != draw_shots(rows, 5, 2)
