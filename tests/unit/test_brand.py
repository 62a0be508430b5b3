"""brand.yml: what the widget is told, and what is said, with file and line, about what cannot be shown."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.assistant.answer_words import AnswerWords
from bot.assistant.brand import DEFAULT_BRAND, Brand, read_brand
from bot.assistant.brand_voice import Voice
from bot.assistant.colors import contrast
from bot.assistant.greetings import Greeting
from bot.assistant.loader import load_assistant
from bot.assistant.source import Problem, Problems, read_yaml
from bot.channels import public_brand


def brand_of(folder: Path, text: str) -> tuple[Brand, list[Problem]]:
    file, problems = folder / "brand.yml", Problems()
    file.write_text(text, encoding="utf-8")
    return read_brand(read_yaml(file, problems), problems), problems.found


NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


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
    shown = json.loads(json.dumps(public_brand(brand, NOW)))
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
    assert not {"hours", "pre_chat", "csat"} & set(public_brand(brand, NOW))


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


# ---- voice ----

VOICE = """\
voice:
  formality: {en: casual, zh: formal}
  warmth: high
  length: {en: 60, zh: 120}
  emoji: none
  person: I
  sign_off: {en: "Yours, Lumi"}
  prefer:
    en: {"customer service": "our team"}
    zh: {"亲爱的": "您"}
  forbid: ["cheap", "便宜货"]
  competitors: Lamps4U
  claims_need_approval: {zh: [最低价]}
"""


def test_the_voice_is_read_by_language_or_for_all(tmp_path: Path) -> None:
    brand, problems = brand_of(tmp_path, VOICE)
    assert problems == []
    shared = Voice(warmth="high", emoji="none", person="i", forbid=("cheap", "便宜货"), competitors=("Lamps4U",))
    assert (
        brand.voice("en")
        == brand.voice("en-GB")
        == replace(
            shared, formality="casual", length=60, sign_off="Yours, Lumi", prefer={"customer service": "our team"}
        )
    )
    assert brand.voice("zh") == replace(
        shared, formality="formal", length=120, prefer={"亲爱的": "您"}, claims_need_approval=("最低价",)
    )
    assert brand.sign_offs == {"en": "Yours, Lumi"}


def test_words_to_prefer_may_be_for_all_languages(tmp_path: Path) -> None:
    brand, problems = brand_of(tmp_path, 'voice:\n  prefer: {"Lampe": "lamp"}\n')
    assert problems == []
    assert brand.voice("en").prefer == brand.voice("zh").prefer == {"Lampe": "lamp"}


@pytest.mark.parametrize("text", ["name: Shop\n", "voice:\n", "voice: {}\n", "voice: {warmth: , sign_off: }\n"])
def test_a_brand_without_a_voice_has_the_default_and_nothing_is_said(tmp_path: Path, text: str) -> None:
    brand, problems = brand_of(tmp_path, text)
    assert problems == []
    assert brand.voice("en") == brand.voice("zh") == brand.voice("de") == Voice()


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("voice: loud\n", 1, "a mapping (`key: value`) is expected here, not text"),
        ("voice:\n  formality: posh\n", 2, "no such formality: 'posh'"),
        ("voice:\n  warmth:\n    en: 3\n", 3, "no such warmth: '3'"),
        ("voice:\n  emoji: {en: null}\n", 2, "no such emoji: 'None'"),
        ("voice:\n  person: {de: we}\n", 2, "no voice is known for the language 'de'"),
        ("voice:\n  length: short\n", 2, "'short' is no length of a reply"),
        ("voice:\n  length: {en: 0}\n", 2, "'0' is no length of a reply"),
        ("voice:\n  length: 1.5\n", 2, "'1.5' is no length of a reply"),
        ("voice:\n  sign_off: [a]\n", 2, "'['a']' is no text"),
        ("voice:\n  forbid:\n  - cheap\n  - 5\n", 4, "'5' is no text"),
        ('voice:\n  forbid:\n  - ""\n', 3, "'' is no text"),
        ("voice:\n  prefer: [cheap]\n", 2, "pairs of words are expected here"),
        ("voice:\n  prefer:\n    en:\n      cheap:\n", 4, "'' is no text"),
        ("voice:\n  prefer: {Team: team}\n", 2, "'Team' is to be said instead of itself"),
    ],
)
def test_a_mistake_in_the_voice_is_an_error_with_its_line(tmp_path: Path, lines: str, line: int, message: str) -> None:
    brand, problems = brand_of(tmp_path, lines)
    assert said(problems) == [("error", line, message)]
    assert problems[0].hint or message.startswith("a mapping")
    assert brand.greeting == DEFAULT_BRAND.greeting


def test_an_unknown_part_of_the_voice_is_a_warning(tmp_path: Path) -> None:
    assert said(brand_of(tmp_path, "voice:\n  humour: dry\n")[1]) == [("warning", 2, "unknown key 'humour'")]


def test_the_page_about_the_brand_shows_a_valid_voice_and_explains_every_part_of_it(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "brand.md").read_text(encoding="utf-8")
    example = page.partition("```yaml\n")[2].partition("```")[0]
    brand, problems = brand_of(tmp_path, example)
    assert problems == []
    assert brand.greetings
    table = page.partition("| key |")[2].partition("\n\n")[0]
    for part in fields(Voice):
        assert f"`{part.name}`" in table
        assert f"  {part.name}:" in example


# ---- the words around answers ----

ANSWERS = """\
answers:
  en:
    frames: ["So: {answer}", "{title}: {answer}"]
    source: "Page: {title}"
    written: "A machine wrote this from {title}."
    offer: "Which one?"
    other_language: "Only in Chinese so far:"
  zh: "是这样，{answer}"
"""


def test_the_words_around_answers_are_the_brand_s_where_it_has_them(tmp_path: Path) -> None:
    brand, problems = brand_of(tmp_path, ANSWERS)
    assert problems == []
    assert brand.answer_words("en") == AnswerWords(
        frames=("So: {answer}", "{title}: {answer}"),
        source="Page: {title}",
        written="A machine wrote this from {title}.",
        offer="Which one?",
        other_language="Only in Chinese so far:",
    )
    assert brand.answer_words("zh") == replace(DEFAULT_BRAND.answer_words("zh"), frames=("是这样，{answer}",))
    assert brand.answer_words("fr") == brand.answer_words("en")


def test_frames_alone_are_written_as_they_always_were(tmp_path: Path) -> None:
    brand, problems = brand_of(tmp_path, 'answers:\n  en: ["{answer}", "So: {answer}"]\n  zh: []\n')
    assert problems == []
    assert brand.answer_words("en").frames == ("{answer}", "So: {answer}")
    assert brand.answer_words("en").source == DEFAULT_BRAND.answer_words("en").source
    assert brand.answer_words("zh") == DEFAULT_BRAND.answer_words("zh")


@pytest.mark.parametrize(
    ("lines", "line", "message"),
    [
        ("answers: none\n", 1, "a mapping (`key: value`) is expected here, not text"),
        ('answers:\n  en: ["So."]\n', 2, "the place of the answer is missing"),
        ('answers:\n  en:\n    frames:\n    - "{answer}"\n    - 5\n', 5, "text is expected here, not the number 5"),
        ("answers:\n  en:\n    source: From our pages\n", 3, "the place of the page's title is missing"),
        ("answers:\n  en:\n    written: By a machine\n", 3, "the place of the page's title is missing"),
        ('answers:\n  en: {source: "{titel} of {title}"}\n', 2, "nothing is filled in for `{titel}`"),
        ('answers:\n  en: {offer: "Is it {title}?"}\n', 2, "nothing is filled in for `{title}`"),
        ('answers:\n  en: {other_language: " "}\n', 2, "this phrase is empty"),
        ("answers:\n  en: {offer: [a]}\n", 2, "text is expected here, not a list"),
    ],
)
def test_a_mistake_in_the_words_around_answers_is_an_error_and_the_default_is_said(
    tmp_path: Path, lines: str, line: int, message: str
) -> None:
    brand, problems = brand_of(tmp_path, lines)
    assert said(problems) == [("error", line, message)]
    assert brand.answer_words("en") == DEFAULT_BRAND.answer_words("en")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('answers: {cn: "{answer}"}\n', "unknown key 'cn'"),
        ('answers: {en: {sauce: "{title}"}}\n', "unknown key 'sauce'"),
        ('answers: {en: "{titel}: {answer}"}\n', "nothing is filled in for `{titel}`"),
    ],
)
def test_what_is_not_used_of_the_words_around_answers_is_a_warning(tmp_path: Path, lines: str, message: str) -> None:
    assert said(brand_of(tmp_path, lines)[1]) == [("warning", 1, message)]


def test_the_page_about_answers_shows_valid_words_around_them(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "answers.md").read_text(encoding="utf-8")
    example = page.partition("`brand.yml`:\n\n```yaml\n")[2].partition("```")[0]
    brand, problems = brand_of(tmp_path, example)
    assert problems == []
    for part in fields(AnswerWords):
        assert getattr(brand.answer_words("en"), part.name) != getattr(DEFAULT_BRAND.answer_words("en"), part.name)


# ---- greetings ----

GREETINGS = """\
greeting: {en: "Hello!", zh: "您好！"}
greetings:
- {from: "12-24", until: "01-02", text: {en: "Happy holidays!"}}
- {from: "05:00", until: "11:00", text: {en: "Good morning!", zh: "早上好！"}}
- {from: "22:00", until: "05:00", text: "Still up?"}
"""


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-30T05:00", ("Good morning!", "早上好！")),
        ("2026-11-30T10:59", ("Good morning!", "早上好！")),
        ("2026-11-30T11:00", ("Hello!", "您好！")),
        ("2026-11-30T21:59", ("Hello!", "您好！")),
        ("2026-11-30T22:00", ("Still up?", "Still up?")),
        ("2026-11-30T04:59", ("Still up?", "Still up?")),
        ("2026-12-23T12:00", ("Hello!", "您好！")),
        ("2026-12-24T00:00", ("Happy holidays!", "您好！")),
        ("2027-01-02T23:59", ("Happy holidays!", "您好！")),
        ("2027-01-03T12:00", ("Hello!", "您好！")),
    ],
)
def test_the_first_greeting_that_fits_is_shown(tmp_path: Path, now: str, expected: tuple[str, str]) -> None:
    brand, problems = brand_of(tmp_path, GREETINGS)
    assert problems == []
    shown = public_brand(brand, datetime.fromisoformat(now).replace(tzinfo=UTC))["greeting"]
    assert (shown["en"], shown["zh"]) == expected


def test_a_greeting_is_read_on_the_company_s_clock(tmp_path: Path) -> None:
    at_four = datetime(2026, 11, 30, 4, tzinfo=UTC)
    for hours, timezone, expected in (
        ("", "Europe/Berlin", "Good morning!"),
        ("", "UTC", "Still up?"),
        ('hours: {timezone: Asia/Shanghai, mon: "09:00-18:00"}\n', "UTC", "Hello!"),
    ):
        (tmp_path / "brand.yml").write_text(GREETINGS + hours, encoding="utf-8")
        problems = Problems()
        brand = read_brand(read_yaml(tmp_path / "brand.yml", problems), problems, timezone=timezone)
        assert brand.greeting_at(at_four)["en"] == expected


MINUTES = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
DAYS = st.integers(0, 365).map(lambda day: f"{date(2024, 1, 1) + timedelta(days=day):%m-%d}")


@given(MINUTES, MINUTES, st.datetimes())
def test_of_two_spans_that_make_a_day_one_fits(one: str, other: str, now: datetime) -> None:
    fits = [Greeting(start=a, until=b, text={}).fits(now) for a, b in ((one, other), (other, one))]
    assert one == other or fits.count(True) == 1


@given(DAYS, DAYS, st.datetimes())
def test_both_ends_of_a_season_are_in_it(start: str, until: str, now: datetime) -> None:
    season, today = Greeting(start=start, until=until, text={}), f"{now:%m-%d}"
    assert season.fits(now) or today not in (start, until)
    assert Greeting(start=today, until=today, text={}).fits(now)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('{from: "5:00", until: "11:00", text: Hi}', "'5:00' is no time and no day"),
        ('{from: "02-30", until: "03-01", text: Hi}', "'02-30' is no time and no day"),
        ('{from: "05:00", until: 11, text: Hi}', "'11' is no time and no day"),
        ('{until: "11:00", text: Hi}', "this greeting has no `from`"),
        ('{from: "05:00", until: "12-26", text: Hi}', "'05:00' and '12-26' are a time and a day"),
        ('{from: "05:00", until: "05:00", text: Hi}', "from '05:00' until '05:00' is no time at all"),
        ('{from: "05:00", until: "11:00"}', "this greeting has no text"),
    ],
)
def test_a_greeting_that_cannot_be_shown_is_an_error(tmp_path: Path, entry: str, message: str) -> None:
    brand, problems = brand_of(tmp_path, f"greetings:\n- {entry}\n")
    assert said(problems) == [("error", 2, message)]
    assert problems[0].hint
    assert brand.greetings == ()
