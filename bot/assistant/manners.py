"""Words by which a manner of speaking is known, English and Chinese. What they mean for a text: `voice.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import regex

from bot.assistant.brand_voice import Formality, Person


@dataclass(frozen=True, kw_only=True)
class Manner:
    """Words of one manner, the formalities that they clash with, and what to do; `{words}` are those found."""

    pattern: regex.Pattern[str]
    clashes_with: frozenset[Formality]
    message: str


@dataclass(frozen=True, kw_only=True)
class OtherPerson:
    """Words of somebody else than the one who is to speak, and what that one says."""

    pattern: regex.Pattern[str]
    wanted: str


def _manner(pattern: str, message: str, *clashes_with: Formality) -> Manner:
    compiled = regex.compile(pattern, regex.IGNORECASE | regex.DOTALL)
    return Manner(pattern=compiled, clashes_with=frozenset(clashes_with), message=message)


# 迷你 is "mini"; 你我, 你追我赶 and the like address nobody. 您好 is a greeting for everybody.
_NI = "(?<!迷)你(?!我|[追来争死]我)"
_NIN = "您(?!好(?![好些转]))"
_SLANG = "“{words}” is slang: say it plainly."
_STIFF = "“{words}” is stiff, the voice is casual: say it as to somebody across the counter."
MANNERS: Mapping[str, tuple[Manner, ...]] = {
    "en": (
        _manner(
            r"\b\w+n't\b|\b\w+'(?:ll|re|ve|d)\b|\bI'm\b"
            r"|\b(?:it|that|there|here|what|where|who|how|he|she|let)'s\b",
            "“{words}” is a short form, the voice is formal: write it out.",
            "formal",
        ),
        _manner(
            r"\b(?:hey|yo|yeah|yep|yup|nope|gonna|wanna|gotta|kinda|sorta|dunno|ain't|awesome|guys|folks|pls|plz|thx|btw"
            r"|lol|omg|cheers|no (?:worries|biggie|probs?))\b",
            _SLANG,
            "formal",
            "neutral",
        ),
        _manner(
            r"\b(?:please be (?:advised|informed)|kindly|here(?:by|with)|pursuant to|aforementioned|should you require"
            r"|at your earliest convenience|(?:do not|don't) hesitate to|regret to inform|in the event that"
            r"|dear (?:sir|madam|(?:valued )?customer)|yours (?:faithfully|sincerely))\b",
            _STIFF,
            "casual",
        ),
    ),
    "zh": (
        _manner(_NI, "“{words}” where the voice is formal: say 您.", "formal"),
        _manner(_NIN, "“{words}” where the voice is casual: say 你.", "casual"),
        _manner(f"{_NI}(?=.*{_NIN})|{_NIN}(?=.*{_NI})", "你 and 您 stand in one text: keep to one.", "neutral"),
        _manner(
            r"(?<=^|[^\p{Han}]|[的了呢哦啊])亲(?=[,~!。、]|亲|们)|咋|啥|木有|么么哒|哈喽|[嗨嘿]|搞定|没毛病|妥妥|给力|嘞|酱紫",
            _SLANG,
            "formal",
            "neutral",
        ),
        _manner("敬请|特此|尊敬的|兹[因将有]|烦请|贵方|予以|谨此|敬启|恭候", _STIFF, "casual"),
    ),
}

_WE = "我们(?:很|非常|十分|深感|真的)?(?:抱歉|遗憾|理解)|我们(?:这就|马上|来|帮[您你]|为[您你])(?:查|看|转|登记|核)"
# Where the assistant speaks for itself, "we" stays right for what the company does ("we deliver"), not for what is felt
# and done in the chat.
OTHER_PERSON: Mapping[tuple[str, Person], OtherPerson] = {
    ("en", "we"): OtherPerson(pattern=regex.compile(r"\bI\b|\b[Mm](?:e|y|ine|yself)\b"), wanted="we"),
    ("zh", "we"): OtherPerson(pattern=regex.compile("(?<!自)我(?![们司方国])"), wanted="我们"),
    ("en", "i"): OtherPerson(
        pattern=regex.compile(
            r"\bwe(?:'re| are) (?:(?:so|very|really) )?(?:sorry|afraid|happy to|glad to|pleased to|unable to)\b"
            r"|\bwe (?:apologi[sz]e|regret|understand)\b"
            r"|\bwe(?:'ll| will| can) (?:(?:check|look up|find) (?:it|that|this)|look (?:it|that|this) up|help you)\b",
            regex.IGNORECASE,
        ),
        wanted="I",
    ),
    ("zh", "i"): OtherPerson(pattern=regex.compile(_WE), wanted="我"),
}
