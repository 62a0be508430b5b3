"""E-mail addresses, links, cards, bank accounts, ids, passports, number plates, IP addresses."""

from __future__ import annotations

import ipaddress

import regex
from stdnum import iban, luhn
from stdnum.cn import ric

from bot.personal.labels import LINK, NUMBER_WORD, THING_LABEL, digits_of, is_labelled
from bot.personal.rules import FOUND, Rule, rule

_CARD_LABEL = regex.compile(
    rf"(?:\b(?:card|visa|mastercard|maestro|amex)\b|卡号?)[^\d\n。{FOUND}]{{0,24}}$", regex.IGNORECASE
)
_ID_LABEL = regex.compile(rf"身份证(?:件)?{NUMBER_WORD}{LINK}$")
_IBAN_LABEL = regex.compile(rf"\biban\b{NUMBER_WORD}{LINK}$", regex.IGNORECASE)
# First digits and lengths of Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay, Maestro and old ICBC.
_ISSUED = regex.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|3[0689]\d{12}|35\d{14}|(?:2131|1800)\d{11}"
    r"|(?:5[0678]|6\d)\d{10,17}|9558\d{15}"
)


def _is_card(match: regex.Match[str]) -> bool:
    """By its label; else by first digits, length and check digit, where no label calls it something else."""
    if is_labelled(match, THING_LABEL):
        return False
    digits = digits_of(match[0])
    return is_labelled(match, _CARD_LABEL) or (_ISSUED.fullmatch(digits) is not None and luhn.is_valid(digits))


def _is_iban(match: regex.Match[str]) -> bool:
    return iban.is_valid(match[0]) or is_labelled(match, _IBAN_LABEL)


def _is_resident_id(match: regex.Match[str]) -> bool:
    """By its check digit; `ric.is_valid` also asks whether the county existed on the day, and refuses real ids."""
    number = digits_of(match[0]) + ("X" if match[0][-1] in "Xx" else "")
    return ric.calc_check_digit(number) == number[-1] or is_labelled(match, _ID_LABEL)


def _is_ip(match: regex.Match[str]) -> bool:
    try:
        ipaddress.ip_address(match[0])
    except ValueError:
        return False
    return not is_labelled(match, THING_LABEL)


def _is_social_security(match: regex.Match[str]) -> bool:
    return not is_labelled(match, THING_LABEL)


# Chinese is written without spaces: only Latin letters belong to an address or keep a number from being a phone.
_MAILBOX = r"[\p{Latin}\p{N}._%+\-]"
_IPV4 = r"(?<![\p{Latin}\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)"
_IPV6 = r"(?<![\p{Latin}\d:])(?=[\da-fA-F:]{4})(?:[\da-fA-F]{0,4}:){2,7}[\da-fA-F]{0,4}(?![\p{Latin}\d:])"
_BIRTH_DAY = r"(?:19|20)\d{2}(?:0\d|1[0-2])(?:[0-2]\d|3[01])"
_ENDS = r"(?![\p{Latin}\d])"
_IS = r"(?:\s?(?:号码|号|number|no\b\.?|id\b))?(?:[\s:：#=]|是|为|is\b|改成|换成)*"
_IBAN_GROUP = r"(?:[A-Z\d]{4}| (?=[A-Z]{0,3}\d)[A-Z\d]{4})"  # behind a space four letters are the next word
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"

RULES: tuple[Rule, ...] = (
    rule(
        "url",
        r"(?i)(?<![\p{Latin}\d])(?:https?://|www\.)[^\s<>\p{Han}，。；！？、）】\ufffc]*[\p{Latin}\p{N}/=_\-&#%~+]",
    ),
    rule(
        "email",
        rf"(?<!{_MAILBOX}){_MAILBOX}++@[\p{{Latin}}\p{{N}}\-]+(?:\.[\p{{Latin}}\p{{N}}\-]+)*\.\p{{Latin}}{{2,}}",
        needs="@",
    ),
    rule("ip", rf"{_IPV4}|{_IPV6}", _is_ip, needs=r"\d\.\d|:[\da-fA-F]*:"),
    rule("id", rf"(?<!\d)\d{{6}}{_BIRTH_DAY}\d{{3}}[\dXx]{_ENDS}", _is_resident_id),
    rule(
        "id",
        rf"(?i)(?:身份证|驾驶证|驾照|社保卡?|社会保障){_IS}(?P<it>(?=[A-Z]{{0,2}}\d)[A-Z\d]{{8,18}}){_ENDS}",
    ),
    rule("id", r"(?<![\d\-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d\-])", _is_social_security),
    rule(
        "id",
        rf"(?i)\b(?:ssn|social security|driver['’]?s? licen[cs]e|driving licen[cs]e|national id){_IS}"
        r"(?P<it>(?=[A-Z\-]{0,4}\d)[A-Z\d][A-Z\d\-]{5,19})(?![\p{Latin}\d])",
    ),
    rule(
        "passport",
        rf"(?i)(?:护照|通行证|回乡证|\bpassport){_IS}(?P<it>(?=[A-Z]{{0,3}}\d)[A-Z\d]{{6,12}}){_ENDS}",
    ),
    rule(
        "iban",
        rf"(?i)\b[A-Z]{{2}}\d{{2}} ?[A-Z\d]{{4}}{_IBAN_GROUP}{{1,6}}(?:[A-Z\d]{{1,3}}| \d[A-Z\d]{{0,2}})?\b",
        _is_iban,
    ),
    rule("card", r"(?<![\p{Latin}\d]|\d[\-])(?:\d[ \-]?){11,18}\d(?!\d)", _is_card),
    rule("plate", rf"[{_PROVINCES}][A-HJ-Z][·•\- ]?[A-HJ-NP-Z\d]{{4,5}}[A-HJ-NP-Z\d挂学警港澳]{_ENDS}"),
    rule("account", rf"(?i)(?<!\p{{Latin}})QQ{_IS}(?P<it>[1-9]\d{{4,10}})(?!\d)"),
    rule(
        "account", rf"(?i)(?:微信|(?<!\p{{Latin}})(?:wechat|vx|wx)){_IS}(?P<it>[a-z\d][a-z\d_\-]{{5,19}})(?![a-z\d_\-])"
    ),
    rule("account", r"\bwxid_[a-z\d]+"),
    rule("account", rf"(?i)\b(?:(?:bank )?account|acct\.?|sort code){_IS}(?P<it>\d[\d \-]{{4,18}}\d)(?!\d)"),
)
