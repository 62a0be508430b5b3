"""Several wishes in one message, learned entities, mixed scripts: the parts of reading that are plain functions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.base import Entity
from models.clauses import PartsReader, Several, clauses, several_from
from models.heads import Features, LinearHead
from models.languages import identify_language, is_code_switched, says_something
from models.ngrams import NgramVocabulary
from models.tagging import Tagger, TagName, in_context, joined, tagger_from, tags_of
from training.several import fit_several

PRODUCT = str(TagName(entity="product"))
LABELS = ("O", f"B-{PRODUCT}", f"I-{PRODUCT}")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("refund please, and where is my other parcel?", ["refund please", "where is my other parcel"]),
        ("退款什么时候到？另外我想改地址", ["退款什么时候到", "我想改地址"]),
        ("I paid 89.90 for order A-1001.", []),
        ("hello, ok", []),
        ("where is my order", []),
        ("I paid 1,299.00 euros for the lamp", []),
        ("see https://example.com/a?b=1,2;c please", []),
        ("I paid 1,299.00, and the lamp is broken", ["I paid 1,299.00", "the lamp is broken"]),
        ("is there a plus size duvet", []),
        ("想退货 顺便问下运费多少", ["想退货", "问下运费多少"]),
    ],
)
def test_a_message_is_cut_where_a_second_wish_may_begin(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in clauses(text)] == parts


@given(st.text(max_size=300))
def test_parts_are_pieces_of_the_message_in_order(text: str) -> None:
    at = 0
    for start, end in clauses(text):
        assert at <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        at = end


def test_a_long_message_is_cut_quickly() -> None:
    started = time.thread_time()
    clauses("and " * 50_000)
    clauses("a. " * 50_000)
    assert time.thread_time() - started < 1


def chances(*rows: tuple[int, float]) -> np.ndarray:
    """(P, 4): each row's likeliest intent and its probability."""
    out = np.full((len(rows), 4), 0.0, dtype=np.float32)
    for line, (intent, chance) in enumerate(rows):
        out[line] = (1 - chance) / 3
        out[line, intent] = chance
    return out


def test_a_part_with_another_sure_intent_is_a_wish_of_its_own() -> None:
    several = Several(threshold=0.7, companions=np.array([3]))
    found = several.beside(0, chances((0, 0.9), (1, 0.8)))
    assert [(intent, round(chance, 2)) for intent, chance in found] == [(1, 0.8)]
    assert several.beside(0, chances((0, 0.9), (1, 0.6))) == []  # not sure enough
    assert several.beside(0, chances((0, 0.9), (3, 0.9))) == []  # a greeting goes along
    assert several.beside(0, chances((1, 0.9))) == []  # one part is no second wish
    assert several.beside(2, chances((0, 0.9), (1, 0.9))) == []  # the pieces miss what the whole says
    again = several_from(several.arrays())
    assert again is not None
    assert again.beside(0, chances((0, 0.9), (1, 0.8))) == found


def test_only_a_hint_of_another_wish_is_worth_reading_by_itself() -> None:
    several = Several(threshold=0.7, companions=np.array([3]))
    assert several.is_worth_reading(0, chances((0, 0.9), (1, 0.5)))
    assert not several.is_worth_reading(0, chances((0, 0.9), (1, 0.3)))
    assert not several.is_worth_reading(0, chances((0, 0.9), (3, 0.9)))
    assert not several.is_worth_reading(1, chances((1, 0.9), (1, 0.9)))


class ScriptedParts(PartsReader):
    """Reads parts as told, in context and by themselves; the tests with a real encoder are the recipes'."""

    def __init__(self, labels: Sequence[str], read: Callable[[Sequence[str]], np.ndarray]) -> None:
        width = len(labels)
        nothing = np.zeros((0, width), dtype=np.float32)
        head = LinearHead(
            labels=tuple(labels), dense=None, sparse=nothing, bias=np.zeros(width, np.float32), temperature=1.0
        )
        vocabulary = NgramVocabulary.learn(["x"], longest=3, word_pairs=False, min_count=1, max_features=1)
        super().__init__(head=head, vocabulary=vocabulary, encoder=None)
        object.__setattr__(self, "_scripted", read)

    def glances(self, features: Features, places: Mapping[int, Sequence[tuple[int, int]]]) -> dict[int, np.ndarray]:
        return {row: self.read([features.texts[row][a:b] for a, b in found]) for row, found in places.items()}

    def read(self, parts: Sequence[str]) -> np.ndarray:
        scripted: Callable[[Sequence[str]], np.ndarray] = vars(self)["_scripted"]
        return scripted(parts)


def test_threshold_and_companions_come_from_messages_with_one_wish() -> None:
    """Of 100 messages all greet, and seven ask for the order with a part that is read as a return, at 0.62."""
    texts = [f"hello dear shop, my order {k} please, thing {'back' if k % 15 == 0 else 'here'} now" for k in range(100)]
    read_as = {"hello": (2, 0.9), "my": (0, 0.9)}

    def read(parts: Sequence[str]) -> np.ndarray:
        return chances(*(read_as.get(part.split()[0], (1, 0.62) if "back" in part else (0, 0.9)) for part in parts))

    labels = ["order", "return", "greet", "out_of_scope"]
    reader = ScriptedParts(labels, read)
    assert fit_several(texts, [0] * 100, reader).companions.tolist() == [1, 2, 3]
    read_as["thing"] = (0, 0.9)
    several = fit_several(texts, [0] * 100, reader)
    assert several.companions.tolist() == [2, 3]
    assert several.threshold == 0.5


def test_a_threshold_keeps_nearly_all_single_wishes_whole() -> None:
    """Parts are misread as six intents, at 0.62, each too rarely to be a companion: the threshold rises above that."""
    texts = [f"my order {k} please, thing here now" for k in range(100)]

    def read(parts: Sequence[str]) -> np.ndarray:
        rows = np.full((len(parts), 40), 0.001, dtype=np.float32)
        for line, part in enumerate(parts):
            wrong = part[0] == "t" and line % 10 == 1
            rows[line, 1 + line // 20 % 30 if wrong else 0] = 0.62 if wrong else 0.9
        return rows

    several = fit_several(texts, [0] * 100, ScriptedParts([f"i{k}" for k in range(40)], read))
    assert several.companions.tolist() == []
    assert several.threshold == 0.65


@pytest.mark.parametrize(
    ("text", "is_mixed"),
    [
        ("我的order到哪了", True),
        ("这个lamp有S码吗", True),
        ("我的订单A-1001到哪了", False),
        ("发到anna@example.com", False),
        ("where is my order", False),
        ("您好", False),
    ],
)
def test_code_switching_is_seen(text: str, is_mixed: bool) -> None:
    assert is_code_switched(text) is is_mixed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wang.fang@example.com", False),
        ("A-1001", False),
        ("+49 30 2312 5417", False),
        ("…?!", False),
        ("😡", True),
        ("no", True),
        ("A-1001 是我的", True),
    ],
)
def test_addresses_and_numbers_say_nothing_of_a_mood(text: str, says: bool) -> None:
    assert says_something(text) is says


@pytest.mark.parametrize("text", ["a" * 100_000, "a-" * 50_000, "x " * 50_000, "a@" * 50_000, "1-" * 50_000])
def test_the_language_of_a_long_text_is_told_quickly(text: str) -> None:
    started = time.thread_time()
    identify_language(text)
    assert time.thread_time() - started < 1
    assert not is_code_switched(text)


def tagger(*tags: int) -> tuple[Tagger, np.ndarray]:
    """A tagger that reads tag k where a token's vector is e_k, and such vectors."""
    return Tagger(
        labels=LABELS, weights=np.eye(9, 3, dtype=np.float32) * 9, bias=np.zeros(3, dtype=np.float32)
    ), np.eye(3, dtype=np.float32)[list(tags)]


def test_tags_become_whole_words_with_a_probability() -> None:
    text = "the brass lamp"
    spans = [(0, 0), (0, 3), (4, 8), (8, 9), (10, 14), (0, 0)]
    model, hidden = tagger(0, 0, 1, 2, 2, 0)
    (found,) = model.find(text, spans, hidden)
    assert (found.entity, found.value, found.start, found.end) == ("product", "brass lamp", 4, 14)
    assert 0.9 < (found.confidence or 0) <= 1
    model, hidden = tagger(0, 0, 0, 1, 0, 0)  # a piece inside a word widens to it
    assert [e.value for e in model.find(text, spans, hidden)] == ["brass"]
    again = tagger_from(model.arrays())
    assert again is not None
    assert again.labels == LABELS


def test_a_token_is_read_with_its_neighbours_and_nothing_beyond_the_ends() -> None:
    hidden = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32)
    assert in_context(hidden).tolist() == [[1, 2, 0, 0, 3, 4], [3, 4, 1, 2, 5, 6], [5, 6, 3, 4, 0, 0]]
    # What stands before decides: a product only behind "the".
    weights = np.zeros((6, 3), dtype=np.float32)
    weights[2, 1] = 9  # the token before has 1 in its first place
    tagger = Tagger(labels=LABELS, weights=weights, bias=np.array([1, 0, -9], dtype=np.float32))
    spans, marks = [(0, 3), (4, 8), (9, 13)], np.array([[1, 0], [0, 0], [0, 0]], dtype=np.float32)
    assert [entity.value for entity in tagger.find("the lamp lamp", spans, marks)] == ["lamp"]


def test_an_inside_tag_never_begins_an_entity() -> None:
    model, hidden = tagger(2, 2, 0)
    (found,) = model.find("red lamp now", [(0, 3), (4, 8), (9, 12)], hidden)
    assert found.value == "red lamp"


@given(st.lists(st.lists(st.integers(-3, 3), min_size=5, max_size=5), min_size=1, max_size=5))
def test_no_path_of_tags_that_may_follow_each_other_is_likelier(rows: list[list[int]]) -> None:
    labels = ("O", "B-a", "I-a", "B-b", "I-b")
    reader = Tagger(labels=labels, weights=np.eye(15, 5, dtype=np.float32), bias=np.zeros(5, dtype=np.float32))
    scores = np.array(rows, dtype=np.float32)

    def may_stand(path: Sequence[int]) -> bool:
        return all(
            not labels[tag].startswith("I-") or (at > 0 and labels[path[at - 1]][2:] == labels[tag][2:])
            for at, tag in enumerate(path)
        )

    def worth(path: Sequence[int]) -> float:
        return float(sum(scores[at, tag] for at, tag in enumerate(path)))

    found = reader._best_path(scores)
    assert may_stand(found)
    assert worth(found) == max(worth(path) for path in product(range(5), repeat=len(rows)) if may_stand(path))


def test_chinese_spans_stay_as_they_were_read() -> None:
    model, hidden = tagger(0, 1, 2, 0)
    (found,) = model.find("我要台灯吗", [(0, 2), (2, 3), (3, 4), (4, 5)], hidden)
    assert found.value == "台灯"


def test_annotations_and_tags_are_two_ways_of_saying_one_thing() -> None:
    spans = [(0, 0), (0, 3), (4, 9), (10, 14)]
    assert tags_of(spans, [("product", 4, 14)]) == ["O", "O", "B-product", "I-product"]


def entity(name: str, start: int, end: int, **more: object) -> Entity:
    return Entity(entity=name, value="x", start=start, end=end, **more)  # type: ignore[arg-type]


def test_rules_win_but_for_a_longer_span_of_the_same_entity() -> None:
    lamp, brass_lamp = entity("product", 4, 8), entity("product", 0, 8, extractor="learned")
    assert joined([lamp], [brass_lamp]) == (brass_lamp,)
    greedy = entity("product", 0, 16)  # swallows a rule of another entity: then what rules found stays
    assert joined([lamp, entity("order_number", 9, 16)], [greedy]) == (lamp, entity("order_number", 9, 16))
    number = entity("order_number", 4, 8)
    assert joined([number], [brass_lamp]) == (number,)
    day = entity("date", 4, 8, additional_info={"grain": "day"})
    assert joined([day], [entity("date", 0, 8)]) == (day,)
    assert joined([], [brass_lamp]) == (brass_lamp,)
