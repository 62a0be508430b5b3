"""brand.yml: what the widget is told, and what is said, with file and line, about what cannot be shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.assistant.brand import Brand, read_brand
from bot.assistant.colors import contrast
from bot.assistant.loader import load_assistant
from bot.assistant.source import Problem, Problems, read_yaml
from bot.channels import public_brand


def brand_of(folder: Path, text: str) -> tuple[Brand, list[Problem]]:
    file, problems = folder / "brand.yml", Problems()
    file.write_text(text, encoding="utf-8")
    return read_brand(read_yaml(file, problems), problems), problems.found


def said(problems: list[Problem]) -> list[tuple[str, int | None, str]]:
    return [(one.level, one.where.line if one.where else None, one.message) for one in problems]


def test_colours_that_nobody_can_read_are_warned_about_with_their_line(tmp_path: Path) -> None:
    colors = {"primary": "#ffee55", "on_primary": "#ffffff", "background": "#222222", "text": "#333333"}
    lines = "".join(f'  {name}: "{color}"\n' for name, color in colors.items())
    _, problems = brand_of(tmp_path, f"name: Shop\ncolors:\n{lines}")
    assert said(problems) == [
        (
            "warning",
            4,
            "on_primary #ffffff on primary #ffee55 is hard to read: contrast 1.2, at least 4.5 is needed (WCAG AA)",
        ),
        (
            "warning",
            6,
            "text #333333 on background #222222 is hard to read: contrast 1.3, at least 4.5 is needed (WCAG AA)",
        ),
    ]
    assert problems[0].where is not None
    assert problems[0].where.file == tmp_path / "brand.yml"


def test_a_colour_is_judged_beside_the_defaults_it_will_stand_on(tmp_path: Path) -> None:
    _, problems = brand_of(tmp_path, 'colors:\n  primary: "#e8c39e"\n')
    assert [message.partition(" is hard")[0] for _, _, message in said(problems)] == [
        "on_primary #ffffff on primary #e8c39e",
        "primary #e8c39e on background #ffffff",
    ]
    assert {line for _, line, _ in said(problems)} == {2}


@pytest.mark.parametrize("value", ['"red"', '"#fff"', '"#12345g"'])
def test_a_colour_that_the_widget_cannot_read_is_warned_about(tmp_path: Path, value: str) -> None:
    _, problems = brand_of(tmp_path, f"colors:\n  primary: {value}\n")
    assert [(one.level, one.hint) for one in problems] == [("warning", 'Write it as "#rrggbb".')]


def test_the_starters_colours_are_readable(tmp_path: Path) -> None:
    colors = 'colors: {primary: "#8A3D14", on_primary: "#FFFFFF", background: "#FFF9F1", text: "#2E231C"}\n'
    assert brand_of(tmp_path, colors)[1] == []


HEX = st.integers(0, 0xFFFFFF).map(lambda value: f"#{value:06x}")


@given(HEX, HEX)
def test_contrast_is_between_one_and_twenty_one_and_has_no_order(one: str, other: str) -> None:
    assert 1 <= contrast(one, other) <= 21.001
    assert contrast(one, other) == contrast(other, one)
    assert max(contrast(one, "#000000"), contrast(one, "#ffffff")) >= 4.5, "black or white can always be read"


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


FULL = """\
hours:
  timezone: Asia/Shanghai
  mon: "9:00-18:00"
pre_chat:
  text: {en: "Hello", zh: "您好"}
  fields:
    - {name: email, label: {en: E-mail, zh: 邮箱}, input: email, required: true}
    - {name: order}
csat:
  intent: /rate_chat
  max: 7
""".replace('"9:00', '"09:00')


def test_what_the_widget_shows_reaches_it_as_json(tmp_path: Path) -> None:
    brand, problems = brand_of(tmp_path, FULL)
    assert problems == []
    shown = json.loads(json.dumps(public_brand(brand)))
    assert shown["hours"] == {
        "timezone": "Asia/Shanghai",
        "week": {"mon": [["09:00", "18:00"]]},
        "closed_on": [],
        "closed_text": None,
    }
    assert shown["pre_chat"]["text"] == {"en": "Hello", "zh": "您好"}
    assert shown["pre_chat"]["fields"] == [
        {"name": "email", "label": {"en": "E-mail", "zh": "邮箱"}, "input": "email", "is_required": True},
        {"name": "order", "label": {"en": "order", "zh": "order"}, "input": "text", "is_required": False},
    ]
    assert (shown["csat"]["intent"], shown["csat"]["max"]) == ("rate_chat", 7)
    assert set(shown["csat"]["text"]) == {"en", "zh"}


def test_what_the_file_leaves_out_is_not_shown(tmp_path: Path) -> None:
    brand, _ = brand_of(tmp_path, "name: Shop\n")
    assert not {"hours", "pre_chat", "csat"} & set(public_brand(brand))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('hours:\n  mon: "09:00-18:00"\n', 1, "the hours need a time zone"),
        ('hours:\n  timezone: Mars/Olympus\n  mon: "09:00-18:00"\n', 2, "no such time zone: 'Mars/Olympus'"),
        ("hours:\n  timezone: Europe/Berlin\n", 1, "the hours name no day"),
        (
            'hours:\n  timezone: Europe/Berlin\n  tue: ["09:00-18:00", "18:00-08:00"]\n',
            3,
            "'18:00-08:00' is no range of a day",
        ),
        ('hours:\n  timezone: Europe/Berlin\n  tue: "9-18"\n', 3, "'9-18' is no range of a day"),
        (
            'hours:\n  timezone: Europe/Berlin\n  tue: "09:00-24:00"\n  closed_on:\n    - christmas\n',
            5,
            "'christmas' is no date",
        ),
        ("pre_chat:\n  text: Hello\n", 1, "the form before the chat has no fields"),
        ("pre_chat:\n  fields:\n    - {label: E-mail}\n", 3, "this field has no name"),
        ("pre_chat:\n  fields:\n    - {name: x, input: colour}\n", 3, "no such kind of field: 'colour'"),
        ("csat:\n  text: Well?\n", 1, "the question at the end has no intent"),
        ("csat:\n  intent: rate\n  max: 50\n", 3, "a rating of 50 steps cannot be shown"),
    ],
)
def test_a_mistake_is_an_error_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    _, problems = brand_of(tmp_path, text)
    errors = [(found_line, found) for level, found_line, found in said(problems) if level == "error"]
    assert (line, message) in errors
    assert all(one.hint for one in problems)


def test_a_rating_that_no_intent_takes_is_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "domain.yml").write_text("version: '3.1'\nintents: [greet]\n", encoding="utf-8")
    (folder / "brand.yml").write_text("name: Shop\ncsat:\n  intent: rate_chat\n", encoding="utf-8")
    warnings = [one for one in load_assistant(folder, {}).warnings if one.where and one.where.file.name == "brand.yml"]
    assert said(warnings) == [("warning", 3, "the domain has no intent 'rate_chat'")]


def test_many_questions_are_a_warning(tmp_path: Path) -> None:
    fields = "".join(f"    - {{name: field{number}}}\n" for number in range(7))
    _, problems = brand_of(tmp_path, f"pre_chat:\n  fields:\n{fields}")
    assert said(problems) == [("warning", 2, "7 questions before the chat")]
