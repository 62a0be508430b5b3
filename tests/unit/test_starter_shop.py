"""The starter's demo shop: its catalogue is complete and can be found in, and each day has its greeting."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from bot.starter.actions.products import (
    Product,
    asks_for_company,
    catalogue,
    colour_in,
    find_products,
    goes_with,
    named_colour,
    suggest,
)
from bot.starter.actions.seasons import FEASTS, MID_AUTUMN, SPRING_FESTIVAL, feast, occasion, time_of_day


def one(text: str) -> Product:
    [product] = find_products(text)
    return product


# The catalogue


def test_the_catalogue_is_complete_in_both_languages() -> None:
    products = catalogue()
    assert len(products) >= 25
    assert len({product.product_id for product in products}) == len(products)
    for product in products:
        for texts in (product.names, product.materials, product.sizes, product.care, product.details, product.why):
            assert texts["en"], product.product_id
            assert texts["zh"], product.product_id
            assert texts["en"].isascii() or "Ø" in texts["en"] or "×" in texts["en"] or "°" in texts["en"]
        assert all(float(price) > 0 for price in product.prices.values())
        assert product.stock
        assert product.tags


def test_every_product_is_found_by_each_of_its_names() -> None:
    for product in catalogue():
        for language in ("en", "zh"):
            assert one(f"about your {product.names[language]}, please") is product


def test_no_word_stands_for_two_products() -> None:
    words = [word for product in catalogue() for word in product.words]
    assert len(set(words)) == len(words)


def test_colours_have_a_chinese_name_unless_they_are_none() -> None:
    colours = {colour for product in catalogue() for colour in product.stock}
    assert {colour for colour in colours if colour_in(colour, "zh") == colour} == {"E27", "E14"}


@pytest.mark.parametrize(
    ("text", "product_id"),
    [
        ("How tall is the Brass Reading Lamp?", "lamp-reading-brass"),
        ("are your reading lamps dimmable", "lamp-reading-brass"),
        ("把灯笼寄过来会坏吗", "lantern-paper"),
        ("duvet covers", "duvet-linen"),
        ("cotton sateen duvet cover", "duvet-cotton"),
        ("真丝枕套能机洗吗", "pillowcase-silk"),
    ],
)
def test_the_most_exact_name_wins(text: str, product_id: str) -> None:
    assert one(text).product_id == product_id


def test_a_kind_of_thing_names_all_of_it() -> None:
    assert {product.category for product in find_products("do you sell lamps?")} == {"lamp"}
    assert len(find_products("lamps")) > 3


@pytest.mark.parametrize(
    "text", ["", "how are you", "the clamp on my desk", "delightful", "a rugged lampshade", "what about shipping?"]
)
def test_words_inside_other_words_name_nothing(text: str) -> None:
    assert find_products(text) == []


def test_a_colour_is_asked_for_only_beside_the_name() -> None:
    lamp = one("brass reading lamp")
    assert named_colour("is the brass reading lamp in stock?", lamp) is None
    assert named_colour("the brass reading lamp in black?", lamp) == "black"
    assert named_colour("阅读灯有黑色吗", lamp) == "black"
    assert named_colour("我没明白，陶瓷台灯", one("陶瓷台灯")) is None


def test_advice_is_what_can_be_bought_now() -> None:
    for text in ("", "lamp", "a cheap gift", "送礼"):
        assert all(any(product.stock.values()) for product in suggest(text, "en"))
    assert suggest("rug", "en", budget=1.0) == []


def test_without_a_wish_advice_is_varied() -> None:
    assert len({product.category for product in suggest("hm", "en")}) == 3


def test_company_is_another_kind_of_thing() -> None:
    for product in catalogue():
        company = goes_with(product)
        assert len(company) == 2
        assert product.category not in {other.category for other in company}
    assert asks_for_company("what goes with it")
    assert asks_for_company("亚麻被套搭什么好看")
    assert not asks_for_company("a lamp for my desk")


# The greeting


@pytest.mark.parametrize(
    ("day", "name"),
    [
        (date(2027, 2, 4), None),
        (date(2027, 2, 5), "spring_festival"),
        (date(2027, 2, 6), "spring_festival"),
        (date(2027, 2, 12), "spring_festival"),
        (date(2027, 2, 13), None),
        (date(2027, 2, 20), "lantern_festival"),
        (date(2027, 9, 15), "mid_autumn"),
        (date(2027, 9, 16), None),
        (date(2026, 12, 23), None),
        (date(2026, 12, 24), "christmas"),
        (date(2026, 12, 26), "christmas"),
        (date(2026, 12, 31), "new_year"),
        (date(2027, 1, 1), "new_year"),
        (date(2027, 1, 2), None),
    ],
)
def test_feasts_have_their_days(day: date, name: str | None) -> None:
    assert feast(day) == name


def test_the_moon_is_new_at_the_spring_festival_and_full_at_mid_autumn() -> None:
    """Checked by the mean moon, good to a day: 29.530588 days, new on 2000-01-06."""
    for year in SPRING_FESTIVAL.keys() & MID_AUTUMN.keys():
        for day, age in ((SPRING_FESTIVAL[year], 0.0), (MID_AUTUMN[year], 14.77)):
            passed = ((day - date(2000, 1, 6)).days - age) % 29.530588
            assert min(passed, 29.530588 - passed) < 1.5, day
        assert date(year, 1, 21) <= SPRING_FESTIVAL[year] <= date(year, 2, 20)


@pytest.mark.parametrize(
    ("hour", "name"), [(4, "evening"), (5, "morning"), (10, "morning"), (11, "day"), (17, "day"), (18, "evening")]
)
def test_ordinary_days_have_their_hours(hour: int, name: str) -> None:
    assert time_of_day(hour) == name
    assert occasion(datetime(2027, 4, 6, hour)) == name


def test_each_feast_comes_in_a_year() -> None:
    days = (date(2027, 1, 1) + timedelta(days=n) for n in range(365))
    assert {name for day in days if (name := feast(day))} == set(FEASTS)
