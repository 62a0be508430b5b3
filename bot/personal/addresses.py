"""Postal addresses: a street with a house number, and the town around it, in Chinese and in Latin letters.

A town or a country alone is no address: it names nobody.
"""

from __future__ import annotations

from functools import lru_cache

import regex

from bot.personal import ordinary
from bot.personal.known_names import is_name, with_capitals
from bot.personal.rules import Rule, rule

_PROVINCE = (
    r"(?:(?:北京|天津|上海|重庆)市?|(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州"
    r"|云南|陕西|甘肃|青海|台湾)省?|(?:内蒙古|广西壮族|广西|西藏|宁夏回族|宁夏|新疆维吾尔|新疆)(?:自治区)?|(?:香港|澳门)(?:特别行政区)?)"
)
# A place's name does not begin with what leads up to it: 寄到…, 我住在…, 地址是…
_PLACE = r"(?![在到至往是为址给把寄送发住我你您他她请从了的改换]|(?<=[改换写变])成)\p{Han}"
_DISTRICT = rf"{_PLACE}(?:(?![到寄送址改换])\p{{Han}}){{1,8}}?(?:市|自治州|地区|盟|区|县|旗|新区)"
_TOWN = r"\p{Han}{1,8}?(?:街道|镇|乡|村|社区|开发区|工业园)"
_ROAD = r"\p{Han}{0,10}?(?:大道|大街|公路|胡同|[路街道巷弄])(?:[东西南北中一二三四五六七八九十]段)?"
_ESTATE = r"[\p{Han}A-Za-z\d]{1,12}?(?:小区|花园|公寓|大厦|广场|家园|新村|佳苑|[苑城园府庭湾寓庄])"
_HOUSE = (
    r"\s?[A-Za-z甲乙丙]?\d{1,5}(?:[\-－]\d{1,5}){0,3}(?!\d)\s?"
    r"(?:号楼|号院|号|弄|栋|幢|座|单元|室|层|楼|户|房|门|组|队)?"
)
_DETAIL = rf"(?:{_ESTATE}?(?:{_HOUSE}|[A-Za-z]座|[东西南北]门))"
_NUMBERED = r"\s?[甲乙丙]?\d{1,5}(?:-\d{1,5})?\s?(?:号楼|号院|号|弄|栋|幢|座|单元|室)"

# Words that begin the next sentence.
_NO_PLACE = (
    r"(?!(?:I|I['’]\w+|The|Please|Thanks?|And|My|Can|Could|Is|It|We|You|Your|Is|Are|How|What|When|Where|Why|Who|This|That"
    r"|For|But|So|If|From|Also|Yes|No|Not|Will|Would|Do|Does|Hi|Hello|Dear|Order|Phone|Tel|Mobile|Email|E-mail|Desk|Fax|Name"
    r"|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
    r"|January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b)"
)
_WORD = rf"{_NO_PLACE}\p{{Lu}}[\p{{L}}\p{{M}}'’.\-]*+(?!\d)"
# Such words without a capital, but none that is mostly something else: a hard drive, in place, by the way.
_LOWER_SUFFIX = (
    r"(?:st|rd|ave|av|blvd|ln|dr|ct|pkwy|hwy|sq|parkway|highway|terrace|crescent|grove|mews|square|court|gardens|close"
    r"|hollow|heights|parade|rise|quay|wharf|turnpike|plaza)\b"
)
_UNIT = r"(?i:apt|apartment|suite|ste|unit|flat|floor|room|rm|box|no)\b\.? ?#?\d+[A-Za-z]?|#\d+"
# Small words of names, and words for "street" that follow the name.
_SMALL = (
    r"(?:de|do|da|des|dos|das|del|della|dei|di|la|le|les|van|von|den|der|het|of|the|u|na|v|y|e|z|am|im|an|i"
    r"|tér|út|útja|utca|trg|ulica|ul\.|u\.|gade|katu|tie|krt|körút|náměstí|ulice|väg|vägen|allé|põik)(?!\p{L})"
)
_WORDS = rf"{_WORD}(?: (?:{_WORD}|{_SMALL})){{0,4}}"
_NUMBER = r"\d{1,5}[A-Za-z]?"
_SUFFIX = (
    r"(?:streets?|str|st|road|rd|avenue|ave|av|drive|dr|lane|ln|boulevard|blvd|place|pl|court|ct|square|squares|sq|terrace"
    r"|crescent|close|way|parkway|pkwy|highway|hwy|alley|circle|cir|row|grove|gardens|mews|loop|trail)\b\.?"
)
# More of the post's words for streets, taken for one behind a number of two digits and with a capital.
_LONG_SUFFIX = (
    r"(?:Parade|Rise|Reach|Gate|Esplanade|Promenade|Wynd|Annex|Arcade|Bayou|Bend|Bluffs?|Bottom|Branch|Bridge|Brooks?|Burgs?|Bypass|Camp|Canyon|Cape|Causeway|Centers?"
    r"|Cliffs?|Common|Corners?|Course|Coves?|Creek|Crest|Crossing|Crossroad|Curve|Dale|Divide|Estates?|Expressway|Extensions?"
    r"|Falls?|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?|Freeway|Garden|Gateway|Glens?|Greens?|Groves|Harbors?"
    r"|Haven|Heights|Hills?|Hollow|Inlet|Islands?|Isle|Junctions?|Knolls?|Lakes?|Landing|Lodge|Mall|Manors?"
    r"|Meadows?|Mills?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Oval|Overpass|Parks?|Pass|Passage|Path|Pike|Pines?"
    r"|Plains?|Plaza|Points?|Ports?|Prairie|Quay|Ranch|Rapids?|Ridges?|River|Shoals?|Shores?|Skyway|Springs?|Spurs?|Station"
    r"|Stravenue|Stream|Streets|Summit|Trace|Track|Trafficway|Tunnel|Turnpike|Underpass|Unions?|Valleys?|Viaduct|Views?"
    r"|Villages?|Ville|Vista|Walks?|Wells?|Wharf)\b"
)
_NOT_LEADING = (
    r"(?!(?:[gtm]b|usb|hard|flash|external|internal"
    r"|the|a|an|on|down|in|my|this|your|of|off|to|for|and|at|all|more|last|days?|weeks?|items?)\b)"
)
_HOUSES = rf"{_NUMBER}(?: \d{{1,5}})?"
# 12-14, 4/22, 17½; and a number behind a street's name: 5a, 12/A, 12-14.
_ENGLISH_HOUSES = rf"{_NUMBER}(?: ?[\-–/&] ?\d{{1,4}}[A-Za-z]?| 1/2| ?½)?(?: \d{{1,5}})?,?"
_HOUSE_BEHIND = r"\d{1,4}(?:[\-–/]\d{1,3})?(?:(?:/?[A-Za-z]| [A-HJ-Z])(?![\p{L}'’]))?"
_AT = r"(?<=\b(?:at|to|near|outside|opposite|behind|address|address is|live in|lives in) )"
_ENGLISH_STREET = (
    rf"{_ENGLISH_HOUSES} (?:(?:{_WORD}|{_SMALL}) ){{1,4}}?(?i:{_SUFFIX})(?:(?: {_WORD}){{1,2}}(?=[,\n]))?"
    # one digit is enough behind such a word: at 9 Pond View
    rf"|(?:(?=\d\d)|{_AT}){_ENGLISH_HOUSES} (?:(?:{_WORD}|{_SMALL}) ){{1,4}}?{_LONG_SUFFIX}"
    rf"|{_AT}\d{{1,3}} The \p{{Lu}}\p{{Ll}}+"
    rf"|{_ENGLISH_HOUSES} (?:{_NOT_LEADING}\p{{Ll}}+ ){{1,2}}(?:street|road|avenue|drive|lane|boulevard)\b"
)
_STREET_FIRST_WORD = (
    r"(?:[Rr]ue|[Vv]ia|[Vv]iale|[Cc]alle|[Rr]ua|[Aa]venida|[Aa]venue|Av|[Pp]iazza|[Pp]laza|[Ss]trada"
    r"|[Bb]oulevard|[Cc]amino|[Cc]arrer|[Rr]úa|[Aa]vda\.?|[Pp]iazzetta|[Cc]orso|[Ll]argo|[Tt]ravessa|[Oo]dos|[Tt]rg|[Uu]lica"
    r"|[Pp]raça|[Pp]raca|[Pp]raza|Plac|[Pp]iața|[Pp]iaţa|[Cc]alea|[Aa]leea|[Aa]leja|[Bb]ulevardul|[Ss]trasse|[Aa]llée|[Cc]hemin"
    r"|[Ii]mpasse|[Qq]uai|[Pp]aseo|[Pp]asseig|[Pp]asaje|[Cc]arretera|[Vv]icolo|[Cc]ontrada|[Ee]strada|[Rr]odovia|[Aa]lameda"
    r"|[Nn]áměstí|[Nn]ámestie|[Oo]siedle|Jalan|Jl\.|Av\.|[Uu]l\.|[Aa]l\.|[Oo]s\.|Pl\.|C/)"
)
_STREET_FIRST = (
    rf"{_STREET_FIRST_WORD}"
    rf"(?: (?:(?:du|des?(?: la)?|del) (?!la )\p{{Ll}}{{3,}}|{_WORD}|{_SMALL}|[dl]['’]{_WORD})){{1,5}}"
)
# What words for streets end with, and such words behind a name.
_ENDING = (
    r"(?:straße|strasse|str\.|gasse|weg|platz|allee|laan|straat|gatan|gata|gade|vegur|stígur|torget|gränd|stigen|plass|singel|steeg|puiestee|chaussee|zeile|pfad|körút|vej|veien|vegen|vägen|stien|braut|brautin"
    r"|stræti|plads|torv|dijk|gracht|plein|kade|ufer|damm|graben|katu|kuja|polku|tie|sk[áé]|ck[áé]|ského|ckého|utca|utcája"
    r"|ulica)"
)
_STREET_BEHIND = r"(?:[Ss]tr(?:aße|asse|\.|aat)|[Gg]ate|[Uu]tca|[Tt]ér|[Kk]örút|[Úú]tja|[Uu]lica|[Bb]aan)"
# Am Markt 3, An der Alster 42, Unter den Linden 77.
_GERMAN_PREPOSITION = r"(?:(?:A[mn]|Auf|Hinter|In|Unter|Vor) de[mnr]|Am|Beim|Im|Zu[mr])"
_STREET_WITH_PREPOSITION = rf"{_GERMAN_PREPOSITION} (?=\p{{L}}{{4}}){_WORD}(?: {_WORD})?"
_OTHER_STREET = (
    rf"(?:{_HOUSES} )?\p{{Lu}}[\p{{L}}\-]*(?:{_ENDING}|-Str\.|-Straße|-Platz|-Allee|-Weg|-Ring|-Ufer) {_HOUSE_BEHIND}"
    rf"|(?:{_HOUSES} )?{_WORD}(?: {_WORD})? {_STREET_BEHIND} {_HOUSE_BEHIND}\.?"
    rf"|(?:{_HOUSES} )?{_STREET_FIRST} (?:# ?)?{_HOUSE_BEHIND}|{_HOUSES}(?: bis| ter)?,? {_STREET_FIRST}"
    rf"|{_STREET_WITH_PREPOSITION} {_HOUSE_BEHIND}"
)
_SOME_OTHER_STREET = (
    rf" \d(?<=(?:{_ENDING}|{_STREET_BEHIND}|-[PAWRU]\p{{Ll}}+) \d)",
    rf" (?<=\b{_STREET_FIRST_WORD} )",
    r"(?:A[mn]|Auf|Beim|Hinter|I[mn]|Unter|Vor|Zu[mr]) (?:de[mnr] )?\p{Lu}\p{Ll}{3}",
)
_SOME_ENGLISH_STREET = (
    rf" (?i:{_SUFFIX})",
    rf" (?=\p{{Lu}}){_LONG_SUFFIX}",
    r"\d The | (?:hollow|heights|parade|rise|quay|wharf|turnpike|plaza)\b",
)
# House, street, house: how registers write many a European address.
_PLAIN_WORD = (
    r"(?!(?:points?|euros?|dollars?|pieces?|percent|are|in|for|last|and|please|when|by|is|was|or|if|as|with"
    r"|instead|lamps?|items?|days?|am|pm)\b)"
    r"[\p{L}\d][\p{L}\p{M}\d'’.\-]*(?<!\.)"
)
_NUMBERED_STREET = rf"{_HOUSES} {_WORDS}\.? \d{{1,5}}\.?"
_MILITARY = (
    r"(?i)(?:PSC|CMR|Unit|USNV|USNS|USS|USCGC) [\p{L}\d .]{1,24}?,?(?: Box \d+)?\s{1,2}"
    r"(?:APO|FPO|DPO),? (?:A[AEP])[ ]\d{5}"
)
_BOX = (
    r"(?i:(?:g?p\.? ?o\.? ?box|postbox|post box|postfach|private bag|locked bag|boîte postale|apartado(?: de correos)?)"
    r"(?: no\.?)? #?\d+|(?:rr|rural route|hc|star route) #?\d+,? box #?\d+)"
)
_CORNER = (
    rf"(?:{_NUMBER} )?(?i:the )?(?i:corner of )"
    rf"[\p{{L}}\d][\p{{L}}\p{{M}}\d'’.\- ]{{1,40}}? and (?:\p{{Ll}}{{2,3}} )?{_WORDS}(?: \d{{1,4}}\.?)?"
)
_POSTCODE = (
    r"(?:\d{5}-\d{4}|\d{3} \d{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d|\d{3}-\d{2}|\d{2}-\d{3}|\d{3,6}"
    r"|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b(?![ \-./]?\d)"
)
_CAPITALS = r"\p{Lu}{2,}\b(?: \p{Lu}{2,}\b)*"
_TOWN_WORDS = rf"(?:{_WORDS}|{_CAPITALS})(?: \(\p{{Lu}}\p{{L}}+\))?(?: {_POSTCODE})?"
# Between the parts of an address, also in a table, a vCard or a page: ", ", ";", "\\,", "|", "<br>", a new line.
_SEPARATOR = r"(?:[ ]*(?:[,;|\n\r\t]|\\[,;n]|<br ?/?>)| [\-–/•] | {2,4}(?=\p{Lu}))[\s,;>|]{0,16}"
_TAIL = (
    rf"(?:[ ,;\s>.|]{{1,8}}(?:{_UNIT})"
    rf"|{_SEPARATOR}(?:{_UNIT}|{_POSTCODE} {_WORDS}|{_TOWN_WORDS}|nan\b|{_POSTCODE}(?! ?\p{{L}}))"
    rf"| {_CAPITALS}(?: {_WORD})?(?: {_POSTCODE})?| {_POSTCODE}){{0,8}}"
)
_CUE = (
    r"(?i:address(?:es)?(?: here)?(?: they)?(?: is| are| to| with|:| was| has changed to)?[:\s>]*"
    r"|\b(?:lives?|lived|living|resides?|located|based|office is|offices are|meet)(?: now)? (?:at|in|on) "
    r"|\b(?:ship|send|sent|deliver|delivered|return|mail|post|move|moved|taxi|come|one|arrived?|card|same)"
    r"(?: it| them| this)?(?: to|at|:| at) ?)"
)
_CUED_STREET = rf"(?:{_NUMBERED_STREET}|{_HOUSES}(?: {_PLAIN_WORD}){{1,5}}|{_WORDS} \d{{1,5}}[a-z]?)"
_BARE_STREET = rf"(?<![\p{{L}}\d.\-]|\d,)(?:(?:{_UNIT}) )?(?=\d\d){_NUMBERED_STREET}(?=[ ]*(?:[,.?!\n]|{_UNIT})|$)"
# Behind a name or a number of somebody's, in the same line or the next: Anna Weber, Arenales 946.
_STREET_OF_SOMEBODY = rf"(?<=\ufffc[ ]?[,\n][ >]?)(?P<it>{_WORDS} \d{{1,4}}[a-z]?(?=[,.\n]|$){_TAIL})"
_STREET_WORD = rf"(?:{_WORD}|{_SMALL}|\d{{1,5}}\.?)"
# A flat's number says that what stands before it is a street, whatever the language.
_STREET_OF_UNIT = (
    rf"(?<![\p{{L}}\d.\-]|\d,)(?:{_HOUSES}(?: {_STREET_WORD}){{1,6}}"
    rf"|{_WORD}(?: {_STREET_WORD}){{0,4}}? \d{{1,5}}\.?(?: {_WORD}){{0,3}})"
    rf"[ ,\n>]{{1,6}}(?i:apt|suite|flat|unit)\b\.? ?\d+[A-Za-z]?"
)

_UNIT_NUMBER = r"(?i)(?:apt|suite|flat|unit)\b\.? ?\d"
_LOWER_WORD = r"(?!(?:and|for|in|with|of|the|to|my|is|or|from|on|at)\b)[\p{L}\d][\p{L}\p{M}\d'’.\-]*"
_LOWER_STREET_OF_UNIT = (
    rf"(?<![\p{{L}}\d.\-]|\d,)\d{{2,5}}(?: {_LOWER_WORD}){{1,6}}[ ,\n>]{{1,6}}(?:apt|suite|flat|unit)\b\.? ?\d+[a-z]?"
)
# Where nothing goes on that a number of things could be.
_LOWER_STREET = (
    rf"(?<![\p{{L}}\d.\-]|\d,)(?:{_UNIT}[ ,]{{1,2}})?{_ENGLISH_HOUSES} (?:{_NOT_LEADING}[\p{{Ll}}\d'’]+\.? ){{1,3}}"
    rf"{_LOWER_SUFFIX}(?=\.?(?:[,;:?!\n]|\. |$|\.$| (?:{_UNIT}|and|in|is|please|instead|or|not)\b))"
)
_LOWER_TAIL = (
    r"(?:[ ]?[,\n][ \n>]{0,4}\p{L}[\p{L}\p{M}'’\-]+(?: [\p{L}\p{M}'’\-]+){0,3}(?: \d{3,6})?(?=[,.?!\n]|$)){0,3}"
)
# "at Leon and Eyrarodda 66": a corner without the word.
_TWO_STREETS = (
    rf"(?<=\b(?:at|to|on|is|from|near|of|same:) |[:\n]\s?)"
    rf"(?:{_WORDS}|{_HOUSES} {_WORDS}) and {_WORDS}(?: {_SMALL})? \d{{1,4}}\.?(?!\d)"
)
_ANY_SUFFIX = rf"\b(?:{_LONG_SUFFIX}|(?:Street|Road|Avenue|Lane|Drive|Boulevard|Court|Square|Terrace|Way)\b)"
_UNNUMBERED_STREET = rf"{_WORD}(?: {_WORD})? {_ANY_SUFFIX}"
# A word and a number, if a town with its postcode comes next.
_STREET_AND_TOWN = (
    rf"(?<![\p{{L}}\d.\-]|\d,)(?P<it>(?:{_NUMBER} )?{_WORDS} \d{{1,4}}[a-z]?{_SEPARATOR}"
    rf"(?:{_POSTCODE} (?:{_WORDS}|{_CAPITALS})"
    rf"|(?:{_WORDS}|{_CAPITALS})(?:,? (?:{_WORDS}|{_CAPITALS}))? {_POSTCODE}){_TAIL})"
)
_STREET_CUE = (
    r"(?i:\b(?:live|lives|lived|living|resides?|stay|stays|staying|moved?|moving|house|flat|home|office|corner|street)"
    r"(?: is| now)? (?:at|on|in|to|of|near) (?:the )?)"
)
_NUMBERED_WORDS = rf"(?:{_NUMBER} )?{_WORDS} \d{{1,4}}[a-z]?\b\.?"
_PLACE_CUE = (
    r"(?i:\b(?:to|lives?|living|address|office|home|house|flat|driver|is|street|new one|now)(?:,|:| is| at| to)? )"
)
_CLEAR_PLACE_CUE = r"(?i:\b(?:at|near|outside|between|from|in|on|behind|opposite) )"
_LOWER_FIRST_WORD = (
    r"\b(?:rue|calle|rua|rúa|avenida|avda|viale|piazza|piazzetta|corso|praça|travessa"
    r"|strada|paseo|ulica|ul\.|trg|unter den)[. ]"
)
_LOWER_STREET_FIRST = (
    rf"(?:(?<!\p{{L}})(?:{_HOUSES} )?{_LOWER_FIRST_WORD} ?(?:[\p{{Ll}}'’]+ ){{1,5}}?{_HOUSE_BEHIND}(?!\d)"
    rf"|(?<![\p{{L}}\d.\-]){_HOUSES},? {_LOWER_FIRST_WORD} ?(?:[\p{{Ll}}'’]+ ?){{1,4}}(?=[,\n.?!]|$))"
)
# Named after a person, such a street needs no number; the first are hardly ever surnames.
_PERSONS_STREET = (
    r"(?:Alley|Avenue|Boulevard|Bypass|Causeway|Crescent|Crossing|Drive|Expressway|Freeway|Gateway|Highway|Loop|Motorway|Mews"
    r"|Parkway|Road|Route|Square|Trail|Turnpike)\b"
)
# No hotel's, restaurant's or town's words: Lodge, Garden, Plaza, Park, Springs.
_PERSONS_PLACE = (
    rf"(?:{_PERSONS_STREET}|(?:Bend|Bluffs?|Cliffs?|Close|Court|Coves?|Crossroad|Curve|Dale|Divide|Forges?|Glens?|Hollow"
    r"|Junctions?|Knolls?|Lane|Overpass|Path|Pike|Quay|Ridges?|Row|Spurs?|Squares|Streets?|Terrace|Trace|Underpass|Viaduct"
    r"|Walk|Way)\b)"
)
_THING_BEFORE = regex.compile(r"\b(?:the|an?|this|that|your|our|my) $", regex.IGNORECASE)
_STANDS_AT = regex.compile(
    r"\b(?:at|on|in|near|outside|opposite|behind|along|down|from|of|is|between|place) $", regex.IGNORECASE
)
_CLAUSE_ENDS = (
    r"[.,?!;:)\n]|$| (?:and|in|is|please|or|for|not|instead|today|tomorrow|by|before|because|but|so|if|thanks)\b"
)
_THING_NUMBERED = regex.compile(
    r"\b(?:order|room|gate|terminal|level|version|chapter|page|step|section|row|seat|platform|bus|train|flight|windows|iphone"
    r"|galaxy|pixel|playstation|xbox|series|model|type|size|article|item|zone|group|team|table|track|line|part|phase"
    r"|no|number|nr|ticket|case|invoice|option|day|week|year|class|grade|route|exit|season|episode|volume|a|b|c|pro|max|mini"
    r"|christmas|easter|summer|winter|spring|autumn|euros?|eur|usd|gbp|cny|box|apt|suite|unit|flat|floor|desk|counter|block|hall)"
    r" \d",
    regex.IGNORECASE,
)


def _is_no_thing(match: regex.Match[str]) -> bool:
    return not _THING_NUMBERED.match(match["it"])


def _is_street(match: regex.Match[str]) -> bool:
    """A word with a capital and a number, and neither an everyday word nor a maker's."""
    words = regex.findall(r"\p{L}+", match["it"].lower().split(",")[0])
    return not _THING_NUMBERED.search(match["it"]) and not any(
        word in ordinary.MAKERS or word in ordinary.EVERYDAY or word in ordinary.PLACES for word in words
    )


def _is_named_after_a_person(match: regex.Match[str]) -> bool:
    *words, _ = match["it"].split()
    before = match.string[max(0, match.start() - 12) : match.start()]
    if _THING_BEFORE.search(before):
        return False
    return (match["street"] is not None or _STANDS_AT.search(before) is not None) and all(
        is_name(word) for word in words
    )


_LOWER_RULES = (
    rule("address", rf"{_LOWER_STREET_OF_UNIT}{_LOWER_TAIL}", needs=_UNIT_NUMBER),
    rule("address", rf"{_LOWER_STREET_FIRST}{_LOWER_TAIL}", needs=_LOWER_FIRST_WORD),
    rule("address", rf"{_LOWER_STREET}{_LOWER_TAIL}", needs=rf" {_LOWER_SUFFIX}"),
)
_RULES = (
    rule(
        "address",
        rf"(?:{_PROVINCE}(?:{_DISTRICT}){{0,3}}|(?:{_DISTRICT}){{1,3}})(?:{_TOWN}){{0,2}}"
        rf"(?:{_ROAD}|{_ESTATE}|{_TOWN}){_NUMBERED}{_DETAIL}{{0,6}}",
        needs=rf"\p{{Han}}{_NUMBERED}",
    ),
    rule("address", rf"{_PLACE}{_ROAD}{_NUMBERED}{_DETAIL}{{0,6}}", needs=rf"\p{{Han}}{_NUMBERED}"),
    rule("address", rf"{_MILITARY}", needs="(?i)[AFD]PO"),
    rule("address", rf"{_CORNER}{_TAIL}", needs="corner of"),
    rule("address", rf"(?:{_NUMBER} )?{_BOX}{_TAIL}", needs="(?i)box|postfach|bag|postale|apartado"),
    rule("address", rf"{_TWO_STREETS}{_TAIL}", needs=r" and \p{Lu}[^\d\n]* \d"),
    rule(
        "address",
        rf"(?<![\p{{L}}\d.\-]|\d,)(?=[\d#]|{_UNIT})(?:{_UNIT}[ ,]{{1,2}})?(?:{_ENGLISH_STREET}){_TAIL}",
        needs=_SOME_ENGLISH_STREET,
    ),
    rule(
        "address",
        rf"(?<![\p{{L}}\d])(?=[\p{{Lu}}\d#]|{_STREET_FIRST_WORD}|{_UNIT})"
        rf"(?:{_UNIT}[ ,]{{1,2}})?(?:{_OTHER_STREET}){_TAIL}",
        needs=_SOME_OTHER_STREET,
    ),
    rule("address", rf"{_STREET_OF_UNIT}{_TAIL}", needs=_UNIT_NUMBER),
    rule("address", rf"{_CUE}(?P<it>{_CUED_STREET}{_TAIL})", _is_no_thing, needs=r"\d"),
    rule("address", rf"{_CUE}(?P<it>{_UNNUMBERED_STREET}{_TAIL})", needs=_ANY_SUFFIX),
    rule("address", rf"{_STREET_CUE}(?P<it>{_UNNUMBERED_STREET})", needs=_ANY_SUFFIX),
    rule("address", rf"{_STREET_CUE}(?P<it>{_STREET_FIRST})", needs=rf" (?<=\b{_STREET_FIRST_WORD} )"),
    rule(
        "address",
        rf"(?<![\p{{L}}\d\-])(?P<it>\p{{Lu}}\p{{L}}+ (?:\p{{Lu}}\p{{L}}+ )?"
        rf"(?:(?P<street>{_PERSONS_STREET})|{_PERSONS_PLACE}))",
        _is_named_after_a_person,
        needs=rf" (?=\p{{Lu}}){_PERSONS_PLACE}",
    ),
    rule("address", rf"{_STREET_AND_TOWN}", _is_street, needs=r"\d[ ,\n]"),
    rule("address", rf"{_PLACE_CUE}(?P<it>{_NUMBERED_WORDS}{_TAIL})(?={_CLAUSE_ENDS})", _is_street, needs=r" \d"),
    rule("address", rf"{_BARE_STREET}{_TAIL}", needs=r"\d"),
    rule("address", _STREET_OF_SOMEBODY, _is_street, needs="\ufffc"),
)


_STREET_WORD_ALONE = regex.compile(
    # as well, 500 points, two usb ports
    r"(?<![\p{L}\d'’])(?!(?:bottom|centers?|common|corners?|course|extensions?|fall|pass|points?|ports?|reach|rise|springs?"
    rf"|trace|track|views?|wells?)\b)(?:{_LONG_SUFFIX}|{_PERSONS_STREET}|{_STREET_FIRST_WORD})(?![\p{{L}}'’])",
    regex.IGNORECASE,
)


@lru_cache(maxsize=1)  # the rules read the same text one after the other
def _capitalized(text: str) -> str:
    """A text without capitals, with one for each word that a street or a town may be named by."""
    capitalized = with_capitals(text, ("given", "surname", "unknown", "either"))
    if capitalized == text:
        return text
    return _STREET_WORD_ALONE.sub(lambda word: word[0][0].upper() + word[0][1:], capitalized)


def _read_without_capitals(each: Rule) -> Rule:
    """The rule, for texts whose writer used no capitals too."""
    return Rule(kind=each.kind, find=lambda text: each.find(_capitalized(text)))


# A word between or before numbers is a street only where capitals say that it is a name.
_BY_CAPITALS = (
    rule("address", rf"{_CLEAR_PLACE_CUE}(?P<it>{_NUMBERED_WORDS}{_TAIL})", _is_street, needs=r" \d"),
    rule("address", rf"(?<![\p{{L}}\d.\-]|\d,)(?P<it>(?=\d\d){_NUMBERED_STREET}{_TAIL})", _is_street, needs=r"\d"),
)

RULES: tuple[Rule, ...] = (*_LOWER_RULES, *(_read_without_capitals(each) for each in _RULES), *_BY_CAPITALS)
