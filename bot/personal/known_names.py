"""Names in Latin letters that are known as such, without words around them that say so.

The lists of given names and surnames are those of the library Faker, for the languages written in Latin letters; they
are read at the first text that needs them. `bot.personal.ordinary` says which of these names are mostly other words.
"""

from __future__ import annotations

import pkgutil
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import chain
from typing import Literal, NamedTuple

import regex

from bot.personal import ordinary
from bot.personal.rules import Rule, Span

# What a word is: `other` ends a name and is none; `either` is an everyday word too, and a name only beside another one.
_Sort = Literal["given", "surname", "either", "unknown", "initial", "particle", "other"]

_LIKE_NAMES: tuple[_Sort, ...] = ("given", "surname", "unknown")
# Of one word alone without a capital, a surname is too often an everyday word with a letter missing.
_GIVEN: tuple[_Sort, ...] = ("given",)

_WORD = r"\p{Lu}(?:[\p{L}\p{M}]|['’\-](?!s\b)(?=\p{L}))*+"
_PARTICLE = r"(?:van|von|de|da|del|della|der|den|di|la|le|bin|al|el|dos|ter|ten|dit|zu|af|av)"
_CHAIN = regex.compile(
    rf"(?<![\p{{L}}\p{{N}}@#_/&.\-]){_WORD}\.?"
    rf"(?:(?<!\p{{L}}{{2}}\.) {{1,2}}(?:{_PARTICLE} ){{0,2}}{_WORD}(?:(?<=\b\p{{L}})\.)?)*+"
)
_PART = regex.compile(rf"{_WORD}|{_PARTICLE}\b")
_LOWER_PAIR = regex.compile(
    r"(?<![\p{L}\p{N}@#_/&.'’\-])(?=(?P<given>\p{Ll}[\p{L}\p{M}'’\-]{2,}+) "
    r"(?:(?P<initial>\p{L})\.? )?(?P<surname>\p{Ll}[\p{L}\p{M}\-]{3,}+)(?![\p{L}\p{N}@_]))"
)
# Endings of surnames that few other words have.
_SURNAME_SHAPE = regex.compile(
    r"\p{L}{3,}(?:ova|eva|yev|iev|aev|nov|kov|rov|lov|mov|sky|skyi|ski|ska|cki|cka|vic|vich|evic|ovic|jic|enko|chuk|yuk|sson"
    r"|ssen|dottir|dsen|rsen|nsen|lsen|tsen|ksen|gsen|dze|shvili|oglu|opoulos|akis|idis|escu|eanu|stein|mann|strom"
    r"|qvist|kvist|lund|wicz|czyk|czak|inen|onen|nainen|mura|moto|guchi|yama|kawa|zaki|auskas|aitis|quez|guez|ndez"
    r"|nyan|ryan|syan|lyan|berg)"
    r"|(?:mc|mac|o['’]|fitz)\p{L}{3,}"
)
_SLAVIC = regex.compile(r"(?:i[ćč]|ov[áa]|sk[ýáa]|ck[ýáa])$")
_SAYS = (
    r"(?:says?|said|told|asks?|asked|wrote|writes|explained|replied|answered|added|adds|tells|promised|claims?|claimed)"
)
_PERSON_VERB = regex.compile(
    rf"['’]s\b|s['’] |,? (?:{_SAYS}|began|begins|works?|worked|lives|lived|called|calls|sent|gave|signed|bought"
    r"|ordered|paid|refused|suggested|helped|was born|was elected|thinks?|thought|wants?|wanted|became|grew|sang|sings"
    r"|plays|played|and \p{Lu}\p{L}+|is my|is our|is his|is her|is going|is very|is so|had|has|will|would|from|and I"
    r"|never|himself|herself|who)\b"
)
_SENTENCE_START = regex.compile(r"(?:^|[.!?…\n][\"”)]?)[ ]*$")
_CLEAR_BEFORE = regex.compile(
    rf"\b(?:by|{_SAYS}|named|with|producer|singer|player|actor|actress|author|director"
    r"|ask|asking|tell|telling|met|meet|thank|behalf of|signed for by|was it|who is|boss|manager|colleague|friend"
    r"|neighbou?r|assistant|teacher|doctor|nurse|courier|driver|wife|husband|son|daughter|mother|father|brother"
    r"|sister|partner|writing for)[ ]$",
    regex.IGNORECASE,
)
_CLEAR_AFTER = regex.compile(
    rf",? (?:{_SAYS}|began|lives|lived|thinks|thought|had|wants|wanted|never|from|ordered|bought|paid|signed|called"
    r"|gave|sent|picked|received|refused|helped|is my|is our|was my|was born|and I|who|himself|herself"
    r"|still works?|works?|worked)\b"
    r"|['’]s (?:address|phone|number|e-?mail|account|card|order|parcel|password|house|flat|birthday|name)\b"
)
_DOES_ALONE = regex.compile(
    r" (?:began|thinks|had given|lives (?:at|in|on)|says|said|was born|grew up|himself|herself"
    r"|is (?:married|pregnant))\b"
)
_SAYS_BEFORE = regex.compile(r"\b(?:says?|said|named|called|asked|told|[Tt]ell|(?:my|his|her|our) manager) $")
_SPEAKER = regex.compile(r":[ ]?[\"“]")
_THING_BEFORE = regex.compile(
    r"\b(?:the|an?|this|that|your|our|my|each|every|any|these|those|new|st\.?|saint|san|santa|los|las|el|fort|port"
    r"|lake|mount|mt\.?|cape) $",
    regex.IGNORECASE,
)
_PLACE_BEFORE = regex.compile(
    r"\b(?:in|at|near|into|via|visit|visiting|city|town|village|county"
    r"|(?:city|university|north|south|east|west|state) of) $",
    regex.IGNORECASE,
)
# Of names of persons more often than of places.
_OF_PERSONS = regex.compile(r" (?:van|von|ten|ter|bin|zu|af|av) ")
_AGAIN = regex.compile(rf"(?<![\p{{L}}\p{{N}}]){_WORD}|\p{{Han}}{{2,4}}")
_HAN = "\u2e80"
_CAPITAL = regex.compile(r"\p{Lu}\p{L}")
_LOWER_WORD = regex.compile(r"(?<![\p{L}\p{M}\p{N}'’@_])\p{Ll}[\p{L}\p{M}]+(?![@_])")
_SHORTENED = regex.compile(r"\p{L}+['’](?:ve|ll|d|re|m|t|s)", regex.IGNORECASE)
_LIST = regex.compile(
    rf"(?<![\p{{L}}\p{{N}}@#_/&.\-])(?<!\p{{Lu}}[\p{{L}}'’\-]{{0,12}} )"
    rf"{_WORD}(?:, {_WORD})*,? and {_WORD}(?!\.? ?[\p{{Lu}}\d])"
)
_MODEL_AFTER = regex.compile(r"[ \-]?\d|[ ][\p{Lu}\d]*\d")


# The languages of Faker that are written in Latin letters, Chinese and others by their transcriptions.
_LATIN = "az cs da de en es et fi fr ga ha hr hu id ig is it lt lv nl no pl pt ro sk sl sv sw tr tw uz vi yo zh zu"
_LANGUAGES = frozenset(_LATIN.split())


class _Names(NamedTuple):
    given: frozenset[str]
    surnames: frozenset[str]
    everyday: frozenset[str]


class _Token(NamedTuple):
    text: str
    start: int
    end: int
    sort: _Sort


@cache
def _names() -> _Names:
    """Some 40,000 names. It takes a quarter of a second, once; a newer Faker may have a few others."""
    from faker.providers import person
    from faker.providers.lorem.en_US import Provider as English

    given: set[str] = set()
    surnames: set[str] = set()
    for module in pkgutil.iter_modules(person.__path__):
        if module.name.partition("_")[0] in _LANGUAGES:
            provider = import_module(f"{person.__name__}.{module.name}").Provider
            given |= _listed(provider, ("first_names", "first_romanized_names"))
            surnames |= _listed(provider, ("last_names", "last_romanized_names"))
    return _Names(frozenset(given), frozenset(surnames), ordinary.EVERYDAY.union(English.word_list))


def _listed(provider: type, prefixes: tuple[str, ...]) -> set[str]:
    """The words of the provider's lists of names that begin like this; it has some for men and women, or just one."""
    lists = (getattr(provider, name) for name in dir(provider) if name.startswith(prefixes))
    names = chain.from_iterable(each for each in lists if isinstance(each, Collection))
    return {_folded(word) for name in names for word in name.split() if len(word) > 1}


def _folded(word: str) -> str:
    """In lower case, without accents."""
    if word.isascii():
        return word.lower()
    letters = unicodedata.normalize("NFD", word.lower())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def with_capitals(text: str, sorts: Collection[_Sort] = _LIKE_NAMES) -> str:
    """A text without capitals, with one for each word of these sorts; a text that has some as it is."""
    if _CAPITAL.search(text):
        return text
    return _LOWER_WORD.sub(lambda word: _with_capital(word[0], sorts), text)


def _with_capital(word: str, sorts: Collection[_Sort]) -> str:
    capital = word[0].upper()
    return capital + word[1:] if len(capital) == 1 and _sort(capital + word[1:]) in sorts else word


def _sort(word: str) -> _Sort:
    if len(word) == 1:
        return "initial"
    if word[0].islower():
        return "particle"
    names, folded = _names(), _folded(word)
    if folded in ordinary.CALENDAR or folded in ordinary.MAKERS or folded in ordinary.NO_PERSON_BEFORE:
        return "other"
    if folded in ordinary.PLACES:
        return "either"
    is_given, is_surname = folded in names.given, folded in names.surnames
    if folded in names.everyday:
        return "either" if is_given or is_surname else "other"
    if is_given:
        return "given"
    return "surname" if is_surname or _is_surname_shaped(folded) or _SLAVIC.search(word) else "unknown"


def is_name(word: str) -> bool:
    """Whether a word with a capital is a name, and no everyday word or place besides."""
    return _sort(word) in ("given", "surname")


def _is_surname_shaped(folded: str) -> bool:
    halves = folded.split("-")
    return _SURNAME_SHAPE.fullmatch(halves[-1]) is not None or (
        len(halves) == 2 and all(half in _names().surnames for half in halves)
    )


def _find(text: str) -> Iterator[Span]:
    text = with_capitals(text, _GIVEN)
    listed = list(_listed_together(text))
    for words in _CHAIN.finditer(text):
        if any(start <= words.start() < end for start, end in listed):
            yield from (span for span in listed if words.start() <= span[0] < words.end())
        else:
            tokens = [_token(part) for part in _PART.finditer(text, *words.span())]
            yield from _in_chain(text, tokens)


def _listed_together(text: str) -> Iterator[Span]:
    """Names of one word each, A, B and C, that are told by one of them; their companies are told by what follows."""
    if " and " not in text:
        return
    for words in _LIST.finditer(text):
        before = text[max(0, words.start() - 24) : words.start()]
        spans = [part.span() for part in _PART.finditer(text, *words.span())]
        sorts = [_sort(text[start:end]) for start, end in spans]
        is_of_persons = any(sort in ("given", "surname") for sort in sorts) and "other" not in sorts
        if is_of_persons and not _THING_BEFORE.search(before) and not _PLACE_BEFORE.search(before):
            yield from (
                span for span, sort in zip(spans, sorts, strict=True) if sort != "either" or _may_be_listed(text, span)
            )


def _may_be_listed(text: str, span: Span) -> bool:
    word = _folded(text[slice(*span)])
    return word in _names().surnames and word not in ordinary.PLACES


def _token(part: regex.Match[str]) -> _Token:
    """I without a point is no initial, I've and We'd are no names."""
    is_me = part[0] == "I" and part.string[part.end() : part.end() + 1] != "."
    return _Token(part[0], *part.span(), "other" if is_me or _SHORTENED.fullmatch(part[0]) else _sort(part[0]))


def _in_chain(text: str, tokens: Sequence[_Token]) -> Iterator[Span]:
    """Names among words with capitals that follow each other."""
    run: list[_Token] = []
    for token in tokens:
        if token.sort != "other":
            run.append(token)
            continue
        if run and _folded(token.text) not in ordinary.NO_PERSON_BEFORE:
            yield from _in_run(text, run)
        run = []
    if run:
        yield from _in_run(text, run)


def _in_run(text: str, run: Sequence[_Token]) -> Iterator[Span]:
    """The name in words none of which rules one out."""
    words = [token for token in run if token.sort not in ("initial", "particle")]
    if not words:
        return
    found = _single(text, words[0]) if len(words) == 1 else _several(text, run, words)
    if found is not None:
        yield found


def _single(text: str, word: _Token) -> Span | None:
    before, after = text[max(0, word.start - 24) : word.start], word.end
    if len(word.text) < 3 or word.sort == "either" or _THING_BEFORE.search(before) or _PLACE_BEFORE.search(before):
        return None
    if _MODEL_AFTER.match(text, after):
        return None
    is_name = (
        word.sort == "given"
        or _DOES_ALONE.match(text, after)
        or _SAYS_BEFORE.search(before)
        or _SPEAKER.match(text, after)
        or (
            word.sort == "surname"
            and "-" not in word.text
            and (not _SENTENCE_START.search(before) or _PERSON_VERB.match(text, after))
        )
    )
    return (word.start, word.end) if is_name and not word.text.isupper() else None


def _several(text: str, run: Sequence[_Token], words: Sequence[_Token]) -> Span | None:
    first = _first(text, run, words)
    if first is None:
        return None
    words = words[words.index(first) :]
    while words and words[-1].sort == "either" and not _may_be_surname(words[-1].text):
        words = words[:-1]
    if len(words) == 1:
        return _single(text, words[0])
    return (words[0].start, words[-1].end) if words else None


def _may_be_given(word: str) -> bool:
    return _folded(word) in _names().given and _folded(word) not in ("will", "may", "my")


def _may_be_surname(word: str) -> bool:
    return _folded(word) in _names().surnames or _folded(word) in ordinary.PLACES


def _first(text: str, run: Sequence[_Token], words: Sequence[_Token]) -> _Token | None:
    """The word that a name of several words begins with."""
    before = text[max(0, words[0].start - 24) : words[0].start]
    if _PLACE_BEFORE.search(before):
        return None
    if all(word.text.isupper() for word in words):
        return words[0] if (words[0].sort, words[-1].sort) in (("given", "surname"), ("given", "given")) else None
    given = next((place for place, word in enumerate(words) if word.sort == "given"), None)
    if given is not None:
        before_it = words[given - 1]
        is_surname = given == len(words) - 1 and (
            before_it.sort in ("unknown", "surname") or _may_be_given(before_it.text)
        )
        return before_it if given and is_surname else words[given]
    *_, one, other = words
    if other.text.isupper() != one.text.isupper() or (one.sort == "either" and not _may_be_given(one.text)):
        return None
    if other.sort == "surname":
        return one
    has_initial = any(token.sort == "initial" and words[0].start < token.start < words[-1].start for token in run)
    if has_initial and other.sort == "unknown":
        return one
    if one.sort == other.sort == "unknown" and _OF_PERSONS.search(text, one.end, other.start):
        return one
    is_clear = _CLEAR_BEFORE.search(before) or _CLEAR_AFTER.match(text, other.end)
    if one.sort == other.sort == "either":
        is_full = _may_be_given(one.text) and _folded(other.text) in _names().surnames
        return one if is_clear and is_full and not _THING_BEFORE.search(before) else None
    all_unknown = all(word.sort in ("unknown", "surname") for word in words)
    return words[0] if is_clear and all_unknown and not _THING_BEFORE.search(before) else None


def _find_lower(text: str) -> Iterator[Span]:
    """A given name and a surname without capitals."""
    end = 0
    for pair in _LOWER_PAIR.finditer(text):
        if pair.start() >= end and _are_names(pair):
            end = pair.end("surname")
            yield pair.start(), end


def _are_names(pair: regex.Match[str]) -> bool:
    """Whether the first is a given name, and the second by a list, its shape, its accents or what it does a surname.

    One of the two may be an everyday word as well, if the other is surely a name.
    """
    names = _names()
    one, other = _folded(pair["given"]), _folded(pair["surname"])
    is_listed = other in names.surnames or _is_surname_shaped(other) or not pair["surname"].isascii()
    if one not in names.given or other in ordinary.CALENDAR:
        return False
    if other in names.everyday or other in ordinary.NO_PERSON_BEFORE or other in ordinary.MAKERS:
        return False
    if one in ordinary.PLACES or one in names.everyday:
        return (
            is_listed and one not in ordinary.NEVER_GIVEN and other not in ordinary.PLACES and other not in names.given
        )
    return (
        is_listed
        or pair["initial"] not in (None, "a", "i")
        or (not other.endswith("ly") and _CLEAR_AFTER.match(pair.string, pair.end("surname")) is not None)
    )


def again(found: Iterable[str]) -> Rule:
    """Wherever a word of the names that were found stands again, or a whole name in Chinese."""
    parts = {part[0] for name in found for part in _AGAIN.finditer(name)}
    words = {part for part in parts if len(part) > 2 and part[0] < _HAN and _sort(part) not in ("either", "other")}
    wholes = sorted(part for part in parts if part[0] >= _HAN)
    return Rule(kind="person", find=lambda text: _stand_again(text, words, wholes))


def _stand_again(text: str, words: Collection[str], wholes: Sequence[str]) -> Iterator[Span]:
    spans = [word.span() for word in _AGAIN.finditer(text) if word[0] in words] if words else []
    for whole in wholes:
        start = text.find(whole)
        while start >= 0:
            spans.append((start, start + len(whole)))
            start = text.find(whole, start + len(whole))
    end = 0
    for span in sorted(spans):
        if span[0] >= end:
            yield span
            end = span[1]


RULES: tuple[Rule, ...] = (Rule(kind="person", find=_find_lower), Rule(kind="person", find=_find))
