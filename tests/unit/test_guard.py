"""What a generator writes is looked up before it is said: numbers, links and names. No model."""

from __future__ import annotations

import pytest

from bot.answers.guard import Objection, amounts, invented

SOURCE = (
    "Returns – How long\nYou can send a lamp back within 30 days. Delivery within Germany costs €4.90, over €60 "
    "nothing. Write to help@shop.example or ask Klarna. We close at 19:00 on 24 December."
)
QUELLE = "退货 – 期限\n签收后 30 天内可以退货。满 199 元包邮，不满收 12 元。旺季可能要多等两天。"


@pytest.mark.parametrize(
    "sentence",
    [
        "You have thirty days to send it back.",
        "Delivery is €4,90, and free over 60 euros.",
        "Sure, Klarna takes care of it.",
        "Just write to help@shop.example.",
        "We're open until 19:00 on 24 December.",
        "I'm afraid not.",
        "That's the big one, and no one pays for it.",
    ],
)
def test_what_stands_in_the_source_may_be_said(sentence: str) -> None:
    assert invented(sentence, [SOURCE]) is None


@pytest.mark.parametrize(
    ("sentence", "kind", "words"),
    [
        ("You have 14 days to send it back.", "number", "14"),
        ("You have sixty-five days.", "number", "sixty-five"),
        ("Delivery costs €4.95.", "number", "4.95"),
        ("See https://evil.example/returns for more.", "link", "https://evil.example/returns"),
        ("Write to sales@shop.example.", "link", "sales@shop.example"),
        ("You can pay with Paypal too.", "name", "Paypal"),
    ],
)
def test_what_is_in_no_source_is_named(sentence: str, kind: str, words: str) -> None:
    assert invented(sentence, [SOURCE]) == Objection(kind=kind, words=words)  # type: ignore[arg-type]


@pytest.mark.parametrize("sentence", ["三十天内都可以退。", "满199元就包邮啦。", "旺季要多等2天。", "一般一下就好。"])
def test_chinese_numerals_are_numbers(sentence: str) -> None:
    assert invented(sentence, [QUELLE]) is None


def test_a_chinese_number_from_nowhere_is_named() -> None:
    assert invented("十五天内都可以退。", [QUELLE]) == Objection(kind="number", words="十五")


def test_what_the_customer_said_may_be_said_back() -> None:
    sentence = "With 3 lamps from Oslo you pay nothing."
    assert invented(sentence, [SOURCE]) is not None
    assert invented(sentence, [SOURCE, "I live in Oslo and want 3 lamps"]) is None


def test_numbers_are_read_however_they_are_written() -> None:
    read = amounts("€1,299.00, 4,90 €, twenty-one days, 三百五 and 一个, 3–5 working days")
    assert [(each.value, each.unit) for each in read] == [
        (1299, "euro"), (4.9, "euro"), (21, "day"), (350, None), (3, "day"), (5, "day"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "sentence",
    [
        "You get a hundred euros back.",
        "退您一百元。",
        "You get a thousand euros back.",
        "You get double.",
        "You get half of it back.",
        "Refunds take one day.",
        "一天就到。",
        "You get €30.",
        "It is 60 percent.",
        "See lantern-deals.com for it.",
        "Write to help@shop.exampl.",
        "We ship with UPS.",
    ],
)
def test_no_number_unit_link_or_capital_comes_from_nowhere(sentence: str) -> None:
    assert invented(sentence, [SOURCE, QUELLE]) is not None


def test_a_range_keeps_its_unit() -> None:
    assert invented("It takes three to five days.", ["Delivery takes 3–5 working days."]) is None
    assert invented("It costs 3 euros.", ["Delivery takes 3–5 working days."]) is not None
