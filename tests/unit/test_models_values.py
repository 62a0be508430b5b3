"""Dates, amounts and addresses are found without a server, shaped as Rasa's custom actions know them from Duckling."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.assistant.config import FallbackClassifier
from bot.assistant.loader import check_assistant, load_assistant
from bot.dialogue.parsing import to_parse_data
from bot.errors import AssistantError
from bot.lessons import training_data
from models.base import Entity, IntentScore, Understanding
from models.entities import EntityMatcher, EntityRules, LookupValue
from models.numerals import chinese_value, digits_value, english_value
from models.value_options import DUCKLINGS, ValueOptions
from models.values import ValueFinder
from tests.value_messages import CHINESE, ENGLISH, Expected

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 23, 10, tzinfo=BERLIN)  # a Monday
ALL = ValueFinder(ValueOptions(entities={name: name for name in DUCKLINGS}, timezone="Europe/Berlin"))


def only(*dimensions: str, **options: object) -> ValueFinder:
    return ValueFinder(ValueOptions(entities={name: name for name in dimensions}, **options))  # type: ignore[arg-type]


def one(finder: ValueFinder, text: str, now: datetime = NOW) -> Entity:
    (entity,) = finder.find(text, now)
    return entity


def moment(short: str) -> str:
    day, _, hour = short.partition("T")
    hours, _, minutes = hour.partition(":")
    at = datetime.fromisoformat(day).replace(hour=int(hours or 0), minute=int(minutes or 0), tzinfo=BERLIN)
    return at.isoformat(timespec="milliseconds")


@pytest.mark.parametrize(("text", "expected"), [*ENGLISH, *CHINESE])
def test_every_value_of_a_message_and_nothing_else_is_found(text: str, expected: Expected) -> None:
    found = {(e.entity, text[e.start : e.end]): e.value for e in ALL.find(text, NOW)}
    assert found.keys() == {(dimension, words) for dimension, words, _ in expected}
    for dimension, words, value in expected:
        got = found[dimension, words]
        if value is None:
            assert isinstance(got, dict)
        else:
            assert got == (moment(str(value)) if dimension == "time" else value)


# ---- the shape ----


def test_a_day_has_its_zone_its_grain_and_the_extractor_of_rasa() -> None:
    assert one(ALL, "since last Friday") == Entity(
        entity="time",
        value="2026-11-20T00:00:00.000+01:00",
        start=6,
        end=17,
        confidence=1.0,
        extractor="DucklingEntityExtractor",
        additional_info={"value": "2026-11-20T00:00:00.000+01:00", "grain": "day", "type": "value"},
    )


def test_money_has_a_currency_and_a_weekend_two_ends() -> None:
    assert one(ALL, "€89.90").additional_info == {"value": 89.9, "unit": "EUR", "type": "value"}
    weekend = one(ALL, "这周末")
    assert weekend.value == {"from": "2026-11-27T18:00:00.000+01:00", "to": "2026-11-30T00:00:00.000+01:00"}
    assert weekend.additional_info is not None
    assert weekend.additional_info["type"] == "interval"
    assert weekend.additional_info["from"] == {"value": "2026-11-27T18:00:00.000+01:00", "grain": "hour"}


def test_a_duration_is_normalised_to_seconds() -> None:
    assert one(ALL, "for 3 weeks").additional_info == {
        "value": 3,
        "week": 3,
        "unit": "week",
        "type": "value",
        "normalized": {"value": 1814400, "unit": "second"},
    }


def test_parse_data_carries_a_value_as_rasa_does() -> None:
    entity = one(ALL, "it was €20")
    read = Understanding(
        text="it was €20",
        ranking=(IntentScore(name="inform", confidence=0.9),),
        out_of_scope_score=0,
        is_out_of_scope=False,
        sentiment="neutral",
        sentiment_confidence=1,
        language="en",
        model_version="v",
        entities=(entity,),
    )
    assert to_parse_data(read, FallbackClassifier())["entities"] == [
        {
            "entity": "amount-of-money",
            "value": 20,
            "start": 7,
            "end": 10,
            "extractor": "DucklingEntityExtractor",
            "text": "€20",
            "confidence": 1.0,
            "additional_info": {"value": 20, "unit": "EUR", "type": "value"},
        }
    ]


# ---- zones, orders of day and month, what is asked for ----


def test_a_day_begins_in_the_zone_of_the_assistant() -> None:
    late = datetime(2026, 11, 23, 22, 30, tzinfo=UTC)
    assert one(only("time", timezone="UTC"), "tomorrow", late).value == "2026-11-24T00:00:00.000+00:00"
    assert one(only("time", timezone="Asia/Shanghai"), "明天", late).value == "2026-11-25T00:00:00.000+08:00"


def test_summer_time_counts_on_the_day_it_holds() -> None:
    assert one(ALL, "2026-07-01").value == "2026-07-01T00:00:00.000+02:00"


@pytest.mark.parametrize(
    ("text", "day_first", "month_first"),
    [("03/04/2026", "2026-04-03", "2026-03-04"), ("25/12/2026", "2026-12-25", "2026-12-25"),
     ("04.03.2026", "2026-03-04", "2026-03-04"), ("12/3", "2027-03-12", "2026-12-03")],
)  # fmt: skip
def test_the_day_comes_first_unless_the_locale_is_american(text: str, day_first: str, month_first: str) -> None:
    assert str(one(only("time"), text).value)[:10] == day_first
    assert str(one(only("time", month_first=True), text).value)[:10] == month_first


def test_yen_and_yuan_share_a_sign() -> None:
    assert (one(ALL, "¥300").additional_info or {})["unit"] == "CNY"
    assert (one(only("amount-of-money", yen=True), "¥300").additional_info or {})["unit"] == "JPY"


def test_only_the_dimensions_asked_for_are_given_under_their_own_names() -> None:
    finder = ValueFinder(ValueOptions(entities={"time": "date"}))
    (found,) = finder.find("€20 on 3 May 2026, call 0170 1234567", NOW)
    assert (found.entity, found.value) == ("date", "2026-05-03T00:00:00.000+00:00")
    # A date's figures are no number, though nobody asked for the date.
    assert only("number").find("05.03.2026", NOW) == ()


def test_a_date_is_of_the_calendar_alone() -> None:
    finder = only("date")
    texts = (
        "tomorrow at 3pm",
        "明天下午三点",
        "at 3pm",
        "晚上十点有人吗",
        "in three hours",
        "last week",
        "05.03.2026",
        "昨晚付的",
    )
    found = [[text[e.start : e.end] for e in finder.find(text, NOW)] for text in texts]
    assert found == [["tomorrow"], ["明天"], [], [], [], ["last week"], ["05.03.2026"], ["昨晚"]]
    assert (one(finder, "tonight").entity, str(one(finder, "tonight").value)[:10]) == ("date", "2026-11-23")
    assert str(one(finder, "this morning").value)[:10] == "2026-11-23"


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("Black Friday", "2026-11-27"),
        ("Easter", "2027-03-28"),
        ("easter monday", "2027-03-29"),
        ("Good Friday", "2027-03-26"),
        ("the end of the month", "2026-11-30"),
        ("end of February", "2027-02-28"),
        ("春节", "2027-02-06"),
        ("除夕", "2027-02-05"),
        ("大年初三", "2027-02-08"),
        ("月底", "2026-11-30"),
        ("年底", "2026-12-31"),
        ("下个月初", "2026-12-01"),
    ],
)
def test_feasts_and_edges_of_the_calendar(text: str, day: str) -> None:
    found = one(ALL, text)
    assert (str(found.value)[:10], found.end - found.start) == (day, len(text))


@pytest.mark.parametrize(
    ("text", "amounts"),
    [
        ("满300减40能用吗", [("300", 300), ("40", 40)]),
        ("花了两百三", [("两百三", 230)]),
        ("两块餐垫", []),
        ("一块买便宜吗", []),
        ("两块钱", [("两块钱", 2)]),
        ("退了3件", []),
        ("换一块2米3的", []),
        ("八块五", [("八块五", 8.5)]),
        ("八块5五", []),
    ],
)
def test_chinese_amounts_are_told_from_things_counted(text: str, amounts: list[tuple[str, float]]) -> None:
    assert [(text[e.start : e.end], e.value) for e in only("amount-of-money").find(text, NOW)] == amounts


@pytest.mark.parametrize("text", ["31.02.2026", "30 February", "2026-13-01", "at 25:00", "2月30号", "13月1号", "99/99"])
def test_a_date_that_does_not_exist_is_not_found(text: str) -> None:
    assert only("time").find(text, NOW) == ()


def test_leap_days_are_found_where_there_is_one_near() -> None:
    assert only("time").find("29 February", NOW) == ()
    now = datetime(2028, 2, 1, tzinfo=UTC)
    assert str(one(only("time"), "29 February", now).value)[:10] == "2028-02-29"


def test_unknown_dimensions_and_zones_are_refused() -> None:
    with pytest.raises(ValueError, match="distance"):
        only("distance")
    with pytest.raises(ValueError, match="Mars/Olympus"):
        only("time", timezone="Mars/Olympus")


# ---- numerals ----


@pytest.mark.parametrize(
    ("text", "value"),
    [("三百五", 350), ("三百五十", 350), ("三百零五", 305), ("一万二", 12000), ("两千", 2000), ("十二", 12), 
     ("二十", 20), ("二〇二六", 2026), ("3万", 30000), ("1.5万", 15000), ("一亿两千万", 120_000_000),
     ("一万亿", 10**12), ("一两百", None), ("一二", None), ("五1", None)],
)  # fmt: skip
def test_chinese_numerals(text: str, value: float | None) -> None:
    assert chinese_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("twenty-five", 25), ("a hundred", 100), ("two hundred and fifty", 250), ("three thousand five hundred", 3500),
     ("two three", None), ("nineteen hundred", 1900)],
)  # fmt: skip
def test_english_numerals(text: str, value: float | None) -> None:
    assert english_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("1,299.00", 1299), ("1.299,00", 1299), ("89,90", 89.9), ("1.299", 1299), ("0.125", 0.125), ("1'299.50", 1299.5),
     ("12345678901234567890", None)],
)  # fmt: skip
def test_separators_of_thousands_and_decimals(text: str, value: float | None) -> None:
    assert digits_value(text) == value


# ---- whatever is written ----


# Words and characters that the patterns know, in any order.
_KNOWN = sorted({piece for text, _ in (*ENGLISH, *CHINESE) for piece in re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]", text)})
_phrases = st.lists(st.sampled_from(_KNOWN), max_size=20).map("".join)


@given(st.text(max_size=120) | _phrases)
def test_spans_lie_inside_any_text_in_order_and_apart(text: str) -> None:
    last = 0
    for entity in ALL.find(text, NOW):
        assert last <= entity.start < entity.end <= len(text)
        last = entity.end


@pytest.mark.parametrize(
    "piece",
    ["a", "1", "1.", "twenty ", "a few ", "3 May at 5pm, ", "a@", "www.a.", "+1", "0 ", " ", "monday, ", "上一个",
     "早上", "3点", "€1", "1/2/", "三百五十", "one and ", "in the ", "2026年"],
)  # fmt: skip
def test_ten_thousand_characters_of_anything_take_no_second(piece: str) -> None:
    text = (piece * 10_000)[:10_000]
    started = time.thread_time()
    ALL.find(text, NOW)
    assert time.thread_time() - started < 1


# ---- beside patterns and lookups, in files ----


def test_patterns_win_over_values_and_values_over_lookups_of_the_same_words() -> None:
    rules = EntityRules(
        regexes=(("code", r"\d{2}\.\d{2}\.\d{4}"),),
        lookups=(LookupValue(entity="day", text="last Friday"), LookupValue(entity="sale", text="last Friday's sale")),
        values=ValueOptions(entities={"time": "date"}),
    )
    matcher = EntityMatcher(rules)
    assert [e.entity for e in matcher.find("05.03.2026", NOW)] == ["code"]
    assert [e.entity for e in matcher.find("it was last Friday", NOW)] == ["date"]
    assert [e.entity for e in matcher.find("in last Friday's sale", NOW)] == ["sale"]
    past = datetime(2020, 1, 1, tzinfo=UTC)
    assert str(matcher.find("tomorrow", past)[0].value) < str(matcher.find("tomorrow")[0].value)


def test_rules_with_values_survive_saving_and_older_files_still_load(tmp_path: Path) -> None:
    file = tmp_path / "entities.json"
    rules = EntityRules(values=ValueOptions(entities={"time": "date"}, timezone="Asia/Shanghai", month_first=True))
    rules.save(file)
    assert EntityRules.load(file) == rules
    file.write_text('{"regexes": [], "lookups": [], "synonyms": {}}', encoding="utf-8")
    assert EntityRules.load(file) == EntityRules()


DOMAIN = "intents: [inform, greet]\nentities: [date, time]\nresponses:\n  utter_default:\n  - text: Sorry\n"
NLU = """
nlu:
- intent: inform
  examples: |
    - it was tuesday
    - my parcel left
- intent: greet
  examples: |
    - hello
    - good day
"""
PIPELINE = """
language: en
pipeline:
- name: DucklingEntityExtractor
  url: http://localhost:8000
  dimensions: [time, number, distance]
  timezone: Asia/Shanghai
  locale: en_US
"""


def project(folder: Path, config: str = "language: en\n", kefu: str = "") -> Path:
    (folder / "data").mkdir(exist_ok=True)
    for name, text in {"domain.yml": DOMAIN, "data/nlu.yml": NLU, "config.yml": config, "kefu.yml": kefu}.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def options(folder: Path) -> ValueOptions | None:
    return training_data(load_assistant(folder, {})).entities.values


def test_an_assistant_that_asks_for_no_values_gets_none(tmp_path: Path) -> None:
    assert options(project(tmp_path)) is None


def test_the_pipelines_options_reach_the_training_data(tmp_path: Path) -> None:
    folder = project(tmp_path, PIPELINE)
    assert options(folder) == ValueOptions(
        entities={"time": "time", "number": "number"}, timezone="Asia/Shanghai", month_first=True
    )
    messages = [problem.message for problem in check_assistant(folder, {})]
    assert "Duckling's dimension 'distance' is found only while its server answers" in messages


def test_kefu_yml_names_entities_of_the_assistants_own(tmp_path: Path) -> None:
    folder = project(tmp_path, kefu="values: {date: time}\ntimezone: Europe/Berlin\n")
    assert options(folder) == ValueOptions(entities={"time": "date"}, timezone="Europe/Berlin")
    before = load_assistant(folder, {}).nlu_fingerprint
    project(tmp_path, kefu="values: {date: time}\ntimezone: Asia/Tokyo\n")
    assert load_assistant(folder, {}).nlu_fingerprint != before


@pytest.mark.parametrize(
    ("kefu", "message"),
    [
        ("values: {date: tiem}\n", "no kind of value 'tiem'"),
        ("values: {date: time, day: time}\n", "'time' has two entities"),
        ("timezone: Berlin\n", "no such time zone: 'Berlin'"),
    ],
)
def test_wrong_options_are_named_with_their_line(tmp_path: Path, kefu: str, message: str) -> None:
    with pytest.raises(AssistantError, match=f"kefu.yml:1.*{message}"):
        load_assistant(project(tmp_path, kefu=kefu), {})


def test_a_value_of_an_entity_that_the_domain_lacks_is_a_warning(tmp_path: Path) -> None:
    folder = project(tmp_path, kefu="values: {dat: time}\n")
    (problem,) = [p for p in check_assistant(folder, {}) if "unknown entity 'dat'" in p.message]
    assert (problem.level, problem.hint) == ("warning", "Did you mean 'date'?")
