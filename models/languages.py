"""Which language an utterance is written in, by script and a few common words; no model, no dependency.

Invariant: "und" wherever the text does not tell, so that an order number or "OK" never switches a
conversation.
"""

from __future__ import annotations

import re
import unicodedata

# Addresses and numbers. What stands before an "@" or a digit is bounded: without, a long word that never comes to one
# is searched anew from each of its characters.
_NOISE = re.compile(r"\S{1,64}@\S+|https?://\S+|www\.\S+|\b[\w-]{0,64}\d[\w-]*\b", re.ASCII)
_HAN = re.compile(r"[㐀-鿿豈-﫿\U00020000-\U0003ffff]")
_KANA = re.compile(r"[぀-ヿㇰ-ㇿ]")
_HANGUL = re.compile(r"[가-힯ᄀ-ᇿ]")
_LATIN_WORD = re.compile(r"[A-Za-zÀ-ɏ]+(?:['’][A-Za-z]+)?")

# A word here is common in English and rare, as a whole word, in other languages written in Latin letters.
_WORDS = """
the and you your yours i'm i've i'd i'll it's that's don't doesn't didn't can't won't isn't wasn't what's
where's how's is are was were be been have has had do does did can could would should will my we our they them
their this that these those with for from of to not what where when why who how which there here please thanks
thank thx hello hi hey yes yeah yep nope help bye goodbye morning afternoon evening good great nice order orders
delivery refund return parcel package shipping cancel person human agent someone talk speak want need get got
give know still any some it i a money back late broken wrong cheers sorry sure
"""
_ENGLISH = frozenset(_WORDS.split())

# Written by speakers of any language between words of their own: alone they tell nothing.
_ANYWHERE = frozenset(("bye", "thx", "yes", "no", "sorry", "wow", "good", "a", "i"))

# A Chinese word is about one and a half characters long, which makes scripts comparable.
_HAN_PER_WORD = 1.5
# One English word in four is what the shortest full sentences show; other languages stay below with their chance hits.
_ENGLISH_SHARE = 0.25


def identify_language(text: str) -> str:
    """Name the utterance's language: "zh", "en", "ja", "ko", or "und" where the text does not tell."""
    rest = _NOISE.sub(" ", text)
    han, kana, hangul = (len(pattern.findall(rest)) for pattern in (_HAN, _KANA, _HANGUL))
    words = [word.lower().replace("’", "'") for word in _LATIN_WORD.findall(rest)]
    if kana or hangul:
        return "ja" if kana >= hangul else "ko"
    if han and han / _HAN_PER_WORD >= _weight(words):
        return "zh"
    return "en" if _is_english(words) else "und"


def says_something(text: str) -> bool:
    """Whether anything but addresses, numbers and marks is there: a letter of a word, or an emoji."""
    return any(char.isalpha() or unicodedata.category(char) == "So" for char in _NOISE.sub(" ", text))


def is_code_switched(text: str) -> bool:
    """Whether Chinese characters and a Latin word of two letters or more stand together: "我的order到哪了".

    Brand names count, order numbers and addresses do not.
    """
    rest = _NOISE.sub(" ", text)
    return bool(_HAN.search(rest)) and any(len(word) > 1 for word in _LATIN_WORD.findall(rest))


def _weight(words: list[str]) -> float:
    # A brand's or a product's name inside a Chinese sentence is Latin but says nothing; running English does.
    return sum(1.0 if word in _ENGLISH else 0.5 for word in words)


def _is_english(words: list[str]) -> bool:
    if set(words) <= _ANYWHERE:
        return False
    hits = sum(word in _ENGLISH for word in words)
    return hits > 0 and hits / len(words) >= _ENGLISH_SHARE


_VERBS = r"(?:can|could|do|does|did|is|are|am|was|were|will|would|shall|should|may|must|has|have(?! a\b))"
_SUBJECTS = r"(?:i|you|u|it|we|they|there|the|my|this|that|these|those|he|she|someone|anyone)"
_ASKING = re.compile(
    r"[?？]|[吗呢嘛么](?=\s*(?:$|[，,。.！!、；;…~]))|(?<![还都])没\s*$"
    r"|(?:能|可以|有|要|行|用|退|换|洗|好|贵|给|是)[^，。,.！!？?]{0,8}不\s*$|([^\s不])不\1"
    r"|怎么|咋|什么|多久|多少|几[天点个时号年次张条块件米折档]|多[长大高重远宽深厚]"
    r"|(?:啥|谁|哪)(?![^，。,.！!；;]{0,4}[都也])(?<!没啥)"  # not 谁都行
    r"|能不能|可不可以|有没有|为什么|如何|请问"
    r"|^\s*(?:and |but |so |hi,? |hello,? |ok,? )?"
    rf"(?:what|what's|whats|when|where|which|who|whom|whose|why|how|any chance|{_VERBS})\b"
    # Later in a message a verb asks only before its subject: "gift from my aunt, can I return it", not "…, is too big".
    r"|[.!,;…–-]\s+(?:and |but |so |ok,? )?"
    rf"(?:(?:what|what's|whats|where|which|who|whose|why|how)\b|{_VERBS}\s+{_SUBJECTS}\b)",
    re.IGNORECASE,
)


def is_asking(text: str) -> bool:
    """Whether a text has the form of a question."""
    return _ASKING.search(text) is not None
