"""Days, spans of the calendar and times of day as customers write them in Chinese: patterns and what they mean.

The arithmetic is `moments.py`'s, joining a day with a time of day `times.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import regex

from models.moments import (
    Clock,
    Duration,
    Grain,
    Match,
    Moment,
    Reference,
    Rule,
    date_in,
    day_from,
    day_of_month,
    end_of,
    monday,
    month_from,
    moved,
    nearest,
    rule,
    unit_from,
)
from models.numerals import chinese_value

_NUMBER = r"(?:\d{1,4}(?:\.\d)?|[零〇一二两三四五六七八九十百]{1,5})"
_DAY_WORDS = {"大前": -3, "前": -2, "昨": -1, "今": 0, "明": 1, "后": 2, "大后": 3}
_STEPS = {"上上": -2, "上": -1, "这": 0, "本": 0, "下": 1, "下下": 2}
_YEARS = {"大前": -3, "前": -2, "去": -1, "今": 0, "明": 1, "后": 2}
_WEEKDAYS = {"一": 0, "二": 1, "三": 2, "四": 3, "五": 4, "六": 5, "日": 6, "天": 6}
_UNITS: dict[str, Grain] = {
    "天": "day",
    "周": "week",
    "星期": "week",
    "礼拜": "week",
    "月": "month",
    "年": "year",
    "小时": "hour",
    "钟头": "hour",
    "分钟": "minute",
}
# Festivals on a fixed day; of those that follow the moon only the new year is known here.
_FESTIVALS = {
    "元旦": (1, 1), "情人节": (2, 14), "妇女节": (3, 8), "五一": (5, 1), "劳动节": (5, 1), "儿童节": (6, 1),
    "618": (6, 18), "国庆": (10, 1), "国庆节": (10, 1), "双十一": (11, 11), "双11": (11, 11), "双十二": (12, 12),
    "双12": (12, 12), "平安夜": (12, 24), "圣诞": (12, 25), "圣诞节": (12, 25),
}  # fmt: skip


def _amount(text: str) -> float:
    value = float(text) if text[0].isdigit() else chinese_value(text)
    if value is None:
        raise ValueError(text)
    return value


def _relative_day(match: Match, reference: Reference) -> Moment:
    return day_from(reference, _DAY_WORDS[match["day"]])


def _weekday(match: Match, reference: Reference) -> Moment:
    step, name = match["step"], match["name"]
    if name == "末":
        return unit_from("weekend", _STEPS.get(step, 0), reference)
    number = _WEEKDAYS[name]
    if step:
        return Moment(start=monday(reference, _STEPS[step]) + timedelta(days=number), grain="day")
    return day_from(reference, (number - reference.today.weekday()) % 7 or 7)


def _week_or_month(match: Match, reference: Reference) -> Moment:
    step = _STEPS[match["step"]]
    if match["unit"] != "月":
        return unit_from("week", step, reference)
    if match["date"]:
        return replace(_in_month(month_from(reference, step), match["date"]), grain="day")
    return unit_from("month", step, reference)


def _in_month(first: datetime, day: str) -> Moment:
    return Moment(start=first.replace(day=int(_amount(day))), grain="day")


def _date(match: Match, reference: Reference) -> Moment:
    month = int(_amount(match["month"]))
    year = _year(match, reference)
    if match["date"]:
        return date_in(reference, year, month, int(_amount(match["date"])))
    return replace(date_in(reference, year, month, 1), grain="month")


def _year(match: Match, reference: Reference) -> int | None:
    if match["which"]:
        return reference.now.year + _YEARS[match["which"]]
    if not match["year"]:
        return None
    year = int(_amount(match["year"]))
    return 2000 + year if year < 100 else year


def _calendar_year(match: Match, reference: Reference) -> Moment:
    year = _year(match, reference)
    if year is None or not 1900 <= year < 2100:
        raise ValueError(match[0])
    return Moment(start=reference.day(year), grain="year")


def _span(match: Match, reference: Reference) -> Moment | Duration:
    amount = 0.5 if match["half"] else _amount(match["count"])
    unit = _UNITS[match["unit"]]
    if not match["side"]:
        return Duration(amount=amount, unit=unit)
    return moved(reference, -amount if match["side"] == "前" else amount, unit)


def _festival(match: Match, reference: Reference) -> Moment:
    return date_in(reference, None, *_FESTIVALS[match[0]])


# The first day of the lunar year, as published by the Hong Kong Observatory.
_NEW_YEAR = {
    2023: (1, 22), 2024: (2, 10), 2025: (1, 29), 2026: (2, 17), 2027: (2, 6), 2028: (1, 26), 2029: (2, 13),
    2030: (2, 3), 2031: (1, 23), 2032: (2, 11), 2033: (1, 31), 2034: (2, 19), 2035: (2, 8),
}  # fmt: skip


def _lunar_new_year(match: Match, reference: Reference) -> Moment:
    if match["day"]:
        return nearest(reference, _NEW_YEAR.__getitem__, int(_amount(match["day"])) - 1)
    return nearest(reference, _NEW_YEAR.__getitem__, 0 if match[0] == "春节" else -1)


def _edge(match: Match, reference: Reference) -> Moment:
    """月底 and 年底: the last day; 月初 and 年初: the first."""
    step = _STEPS.get(match["step"], 0) if match["unit"] == "月" else _YEARS.get(match["step"], 0)
    unit = "month" if match["unit"] == "月" else "year"
    first = unit_from(unit, step, reference).start
    return end_of(first, unit) if match["edge"] in "底末" else Moment(start=first, grain="day")


# What a number before 号 names besides a day: doors, lines, parcels' numbers.
_NO_DAY = "楼线店门单元房码仓机库桌厅院栋地街路室铺柜色"
_YEAR = r"(?:(?P<which>大前|[前去今明后])年|(?P<year>(?:19|20)?\d{2}|[一二][〇零一二三四五六七八九]{3})年)"
CHINESE_RULES: tuple[Rule, ...] = (
    rule(r"(?P<day>大前|大后|前|后|昨|今|明)(?:天|日(?=[^本记常期])|日$|儿(?!子))", _relative_day),
    rule(r"(?P<day>昨|今|明)(?=[早晚])(?![早晚](?:安|点))", _relative_day),
    rule(
        r"(?<![一二两三四五六七八九十几每半双\d])(?:(?P<step>上上|下下|上|下|这|本)一?个?)?(?:周|星期|礼拜)"
        r"(?P<name>[一二三四五六日天]|末(?!愉快|快乐))",
        _weekday,
    ),
    rule(
        rf"(?P<step>上上|下下|上|下|这|本)一?个?(?P<unit>周(?![一二三四五六日天末])|(?:星期|礼拜)(?![一二三四五六日天])|月)"
        rf"(?:(?<=月)的?(?P<date>{_NUMBER})[号日](?![{_NO_DAY}]))?",
        _week_or_month,
    ),
    rule(
        rf"(?<![\d.]){_YEAR}?的?(?P<month>\d{{1,2}}|[一二三四五六七八九十]{{1,2}})月(?:(?P<date>{_NUMBER})[号日]?(?![\d.天个块元月年{_NO_DAY}])|份)?",
        _date,
    ),
    rule(
        r"(?P<which>大前|[前去今明后])年(?!底|末|初)|(?<![\d.])(?P<year>(?:19|20)\d{2}|[一二][〇零一二三四五六七八九]{3})年",
        _calendar_year,
    ),
    rule(
        r"(?:(?P<step>上|这|本|下)个?)?(?P<unit>月)(?P<edge>底|末|初)|(?P<step>去|今|明)?(?P<unit>年)(?P<edge>底|末|初(?!一))",
        _edge,
    ),
    rule(r"春节|除夕|大年三十|大年初(?P<day>[一二三四五六七八九])", _lunar_new_year),
    rule(
        rf"(?<![\d.第尾单编型路街道巷弄大小长短一二三四五六七八九十月]){_NUMBER}号(?![{_NO_DAY}])",
        lambda match, reference: day_of_month(reference, int(_amount(match[0][:-1]))),
    ),
    rule(
        rf"(?<![\d.第零〇一二两三四五六七八九十百])(?:(?P<count>{_NUMBER})[多来]?|(?P<half>半))个?(?:多)?"
        r"(?P<unit>(?<!\d)(?<=个)月|(?<=[^个])(?:天|周(?![一二三四五六日末]))|星期(?![一二三四五六日天])|礼拜(?![一二三四五六日天])|"
        r"(?<=[^个])年(?!级)|小时|钟头|分钟)(?:多)?(?:[以之]?(?P<side>[前后])(?![天面]))?",
        _span,
    ),
    rule("|".join(sorted(_FESTIVALS, key=len, reverse=True)).replace("618", r"(?<!\d)618(?!\d)"), _festival),
)


# ---- times of day ----

_PARTS = {
    "凌晨": (0, 6), "早上": (4, 12), "早晨": (4, 12), "早": (4, 12), "上午": (4, 12), "中午": (11, 14),
    "下午": (12, 19), "傍晚": (17, 20), "晚上": (18, 24), "夜里": (18, 24), "晚": (18, 24),
}  # fmt: skip
_PART = "|".join(sorted(_PARTS, key=len, reverse=True))
_MINUTES = {"半": 30, "一刻": 15, "三刻": 45, "整": 0}


def _hour(match: Match) -> Clock | None:
    part, written = match["part"], match["hour"]
    is_sure = bool(part or match["rest"] or written[0].isdigit())
    hour = int(_amount(written))
    if hour > 24:
        return None
    if part in ("下午", "傍晚", "晚上", "夜里", "晚") and hour <= 12:
        hour = 24 if hour == 12 and part != "下午" else hour % 12 + 12
    elif part == "中午" and hour < 10:
        hour += 12
    # 一点 alone is "a little", 两点 "two points".
    return Clock(hour=hour, minute=_minute(match["rest"]), needs_day=not is_sure)


def _minute(rest: str | None) -> int | None:
    if rest is None or rest == "钟":
        return None
    if rest in _MINUTES:
        return _MINUTES[rest]
    # 零五 is a minute as it is said; as a number it is none.
    minute = int(_amount(rest.removesuffix("分").removeprefix("零")))
    return minute if minute <= 59 else None


def _part(match: Match) -> Clock:
    start, until = _PARTS[match[0]]
    return Clock(hour=start, until=until, needs_day=match[0] in ("早", "晚"))


CHINESE_CLOCKS: tuple[tuple[regex.Pattern[str], Callable[[Match], Clock | None]], ...] = (
    (
        regex.compile(
            rf"(?:(?P<part>{_PART})的?|(?<![\d.一二两三四五六七八九十百第有]))(?P<hour>\d{{1,2}}|[一二两三四五六七八九]|十[一二]?)点"
            r"(?![\d.]*[%％折])(?P<rest>半|整|一刻|三刻|钟|(?:\d{1,2}|[一二三四五]?十[一二三四五六七八九]?|零[一二三四五六七八九])分?)?"
        ),
        _hour,
    ),
    (regex.compile(rf"(?:{_PART})(?![好安点于])"), _part),
)
