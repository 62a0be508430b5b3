"""The catalogue and the orders as companies export them, and `suggestions:` of kefu.yml."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from bot.assistant.catalogue import Item, Order, read_catalogue, read_orders
from bot.assistant.config import read_kefu_config
from bot.assistant.source import Problems, read_yaml
from bot.assistant.suggestions import SuggestionsConfig

CSV = """product_id,name_en,name_zh,category,stock,price_eur,why_en,why_zh
lamp,reading lamp,阅读灯,lamp,brass:0|black:2,89.90,"light, on the page",光落在书页上
rug,rug,地毯,rug,0,149,,
"""
JSONL = """{"id": "lamp", "name": "reading lamp", "text": "light on the page", "tags": ["gift", "bed"], "stock": 2}

{"id": "help", "name": "How to wash silk", "url": "https://shop.example/silk"}
"""


def catalogue(folder: Path, name: str, text: str, **config: object) -> tuple[list[Item], list[str]]:
    (folder / name).write_text(text, encoding="utf-8")
    problems = Problems()
    items = read_catalogue(folder / name, SuggestionsConfig(**config), problems)  # type: ignore[arg-type]
    return items, [f"{each.where.line if each.where else ''}: {each.message}" for each in problems.found]


def orders(folder: Path, text: str) -> tuple[list[Order], list[str]]:
    (folder / "orders.csv").write_text(text, encoding="utf-8")
    problems = Problems()
    found = read_orders(folder / "orders.csv", {"lamp"}, problems)
    return found, [f"{each.where.line if each.where else ''}: {each.message}" for each in problems.found]


def test_columns_with_a_language_are_words_for_its_customers(tmp_path: Path) -> None:
    (lamp, rug), problems = catalogue(tmp_path, "catalogue.csv", CSV)
    assert problems == []
    assert (lamp.id, lamp.kind, lamp.is_there, rug.is_there) == ("lamp", "lamp", True, False)
    assert lamp.texts == {"en": "reading lamp. light, on the page", "zh": "阅读灯. 光落在书页上"}
    assert (lamp.name("zh"), lamp.name("fr")) == ("阅读灯", "reading lamp")
    assert lamp.columns["price_eur"] == "89.90"


def test_a_cell_may_hold_what_other_programs_end_lines_with(tmp_path: Path) -> None:
    items, problems = catalogue(tmp_path, "catalogue.csv", "id,name\nlamp,bright\u2028and\x0bwarm\n")
    assert ([item.texts for item in items], problems) == ([{"": "bright\u2028and\x0bwarm"}], [])


def test_a_quotation_mark_left_open_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    items, problems = catalogue(tmp_path, "catalogue.csv", 'id,name\nlamp,"' + "x" * 200_000)
    assert items == []
    assert "not CSV" in problems[0]


def test_json_lines_without_a_language_serve_everybody(tmp_path: Path) -> None:
    (lamp, article), problems = catalogue(tmp_path, "catalogue.jsonl", JSONL)
    assert problems == []
    assert lamp.texts == {"": "reading lamp. light on the page"}
    assert (lamp.is_there, article.is_there, article.name("zh")) == (True, True, "How to wash silk")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "product_id,name\nlamp,lamp\nlamp,lamp\n", "3: 'lamp' stands in the catalogue twice"),
        ("a.csv", "product_id,name\nlamp\n", "2: 1 cells in a row of 2 columns"),
        ("a.csv", "product_id,name,stock\nlamp,lamp,many\n", "2: stock: 'many' is no number"),
        ("a.csv", "product_id,title\nlamp,lamp\n", "2: a thing of the catalogue needs `product_id` and a name"),
        ("a.jsonl", '{"id": "lamp", "name": "lamp"}\n{"id": \n', "2: not valid JSON"),
        ("a.jsonl", "[1]\n", "1: a JSON object is expected on each line"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, name: str, text: str, problem: str) -> None:
    assert any(each.startswith(problem) for each in catalogue(tmp_path, name, text)[1])


def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path) -> None:
    problems = Problems()
    assert read_catalogue(tmp_path / "gone.csv", SuggestionsConfig(), problems) == []
    (tmp_path / "latin.csv").write_bytes("product_id,name\nlamp,Stehleuchte für Köln\n".encode("latin-1"))
    assert read_catalogue(tmp_path / "latin.csv", SuggestionsConfig(), problems) == []
    assert [each.message for each in problems.found] == [
        "the file cannot be read (No such file or directory)",
        "the file cannot be read (it is not UTF-8)",
    ]


def test_a_card_that_names_no_column_is_an_error(tmp_path: Path) -> None:
    _, problems = catalogue(tmp_path, "catalogue.csv", CSV, card={"en": "{price_usd}"})
    assert problems[0] == "2: `suggestions.card.en` names the unknown column price_usd"


def test_orders_are_known_by_customer_whatever_their_spelling(tmp_path: Path) -> None:
    text = "customer,product_id,on,returned\nAnna@Example.com,lamp,2026-11-03,\n+49 30 1,lamp,,yes\n"
    found, problems = orders(tmp_path, text)
    assert problems == []
    assert found == [
        Order(customer="anna@example.com", item="lamp", on=date(2026, 11, 3)),
        Order(customer="+49301", item="lamp", is_returned=True),
    ]


def test_orders_of_what_is_not_sold_any_more_are_left_out_and_counted(tmp_path: Path) -> None:
    found, problems = orders(tmp_path, "customer,product_id,on\na,gone,\na,lamp,soon\n,lamp,\n")
    assert [order.customer for order in found] == ["a"]
    assert problems == [
        "3: on: 'soon' is no day",
        "4: an order needs `customer` and `product_id`",
        "None: 1 orders are of things that are not in the catalogue; left out",
    ]


@pytest.mark.parametrize("written", ["", "suggestions: off\n", "suggestions: false\n", "suggestions:\n"])
def test_suggestions_are_off_unless_they_are_asked_for(tmp_path: Path, written: str) -> None:
    assert settings(tmp_path, written) == (None, [])


def test_suggestions_have_defaults_and_limits(tmp_path: Path) -> None:
    assert settings(tmp_path, "suggestions: {}\n") == (SuggestionsConfig(), [])
    assert settings(tmp_path, "suggestions: {explore: 2}\n")[1] == ["explore is 2; between 0 and 1 is expected"]
    assert settings(tmp_path, "suggestions: {count: 0}\n")[1] == ["count is 0; between 1 and 10 is expected"]
    assert settings(tmp_path, "suggestions: please\n")[1] == ["`off` or settings are expected here"]
    assert settings(tmp_path, "suggestions: {card: [a]}\n")[1][0].startswith("a mapping")


def settings(folder: Path, written: str) -> tuple[SuggestionsConfig | None, list[str]]:
    (folder / "kefu.yml").write_text(f"base: ngram\n{written}", encoding="utf-8")
    problems = Problems()
    found = read_kefu_config(read_yaml(folder / "kefu.yml", problems), problems).suggestions
    return found, [each.message for each in problems.found]
