"""Postal addresses: a street with a house number, and the town around it, in Chinese and in Latin letters.

A town or a country alone is no address: it names nobody.
"""

from __future__ import annotations

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
    r"|January|February|March|April|May|June|July|August|September|October|November|December"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b)"
)
_WORD = rf"{_NO_PLACE}\p{{Lu}}[\p{{L}}\p{{M}}'’.\-]*+(?!\d)"
# Small words of names, and words for "street" that follow the name.
_SMALL = (
    r"(?:de|do|da|des|dos|das|del|della|dei|di|la|le|les|van|von|den|der|het|of|the|u|na|v|y|e|z|am|im|an|i"
    r"|tér|út|útja|utca|trg|ulica|ul\.|u\.|gade|katu|tie|krt|körút|náměstí|ulice|väg|vägen|allé|põik)"
)
_WORDS = rf"{_WORD}(?: (?:{_WORD}|{_SMALL})){{0,4}}"
_NUMBER = r"\d{1,5}[A-Za-z]?"
_SUFFIX = (
    r"(?:streets?|st|road|rd|avenue|ave|av|drive|dr|lane|ln|boulevard|blvd|place|pl|court|ct|square|squares|sq|terrace"
    r"|crescent|close|way|parkway|pkwy|highway|hwy|alley|circle|cir|row|grove|gardens|mews|loop|trail)\b\.?"
)
_NOT_LEADING = r"(?!(?:the|a|an|on|down|in|my|this|your|of|off|to|for|and|at|all|more|last|days?|weeks?|items?)\b)"
_HOUSES = rf"{_NUMBER}(?: \d{{1,5}})?"
_ENGLISH_STREET = (
    rf"{_HOUSES} (?:(?:{_WORD}|{_SMALL}) ){{1,4}}?(?i:{_SUFFIX})(?:(?: {_WORD}){{1,2}}(?=[,\n]))?"
    rf"|{_HOUSES} (?:{_NOT_LEADING}\p{{Ll}}+ ){{1,2}}(?:street|road|avenue|drive|lane|boulevard)\b"
)
_STREET_FIRST = (
    r"(?:[Rr]ue|[Vv]ia|[Vv]iale|[Cc]alle|[Rr]ua|[Aa]venida|[Aa]venue|Av|[Pp]iazza|[Pp]laza|[Ss]trada|[Bb]oulevard|[Cc]amino|[Cc]arrer|ul\.)"
    rf"(?: (?:{_WORD}|{_SMALL}|[dl]['’]{_WORD})){{1,5}}"
)
_OTHER_STREET = (
    rf"(?:{_HOUSES} )?\p{{Lu}}\p{{L}}*(?:straße|strasse|str\.|gasse|"
    rf"weg|platz|allee|laan|straat|gatan|gata|vej|vägen|katu|tie)"
    r" \d{1,4}[a-z]?"
    rf"|(?:{_HOUSES} )?{_STREET_FIRST} \d{{1,4}}[a-z]?|{_HOUSES} {_STREET_FIRST}"
)
# House, street, house: how registers write many a European address.
_PLAIN_WORD = (
    r"(?!(?:in|for|last|and|please|when|by|is|was|or|if|as|with|instead|lamps?|items?|days?|am|pm)\b)"
    r"[\p{L}\d][\p{L}\p{M}\d'’.\-]*(?<!\.)"
)
_NUMBERED_STREET = rf"{_HOUSES} {_WORDS}\.? \d{{1,5}}\.?"
_UNIT = r"(?i:apt|apartment|suite|ste|unit|flat|floor|room|rm|box|no)\b\.? ?#?\d+[A-Za-z]?|#\d+"
_MILITARY = (
    r"(?:PSC|CMR|Unit|USNV|USNS|USS|USCGC) [\p{L}\d .]{1,24}?,?(?: Box \d+)?\s{1,2}(?:APO|FPO|DPO),? (?:A[AEP])[ ]\d{5}"
)
_BOX = r"(?i:(?:p\.? ?o\.? ?box|postbox|postfach) \d+)"
_CORNER = rf"(?i:the )?(?i:corner of )[\p{{L}}\d][\p{{L}}\p{{M}}\d'’.\- ]{{1,40}}? and {_WORDS}(?: \d{{1,4}}\.?)?"
_POSTCODE = r"(?:\d{5}-\d{4}|\d{3}-\d{2}|\d{2}-\d{3}|\d{3,6}|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2})\b(?![ \-./]?\d)"
_CAPITALS = r"\p{Lu}{2,}\b(?: \p{Lu}{2,}\b)*"
_TOWN_WORDS = rf"(?:{_WORDS}|{_CAPITALS})(?: {_POSTCODE})?"
_TAIL = (
    rf"(?:[ ,\n>.]{{1,6}}(?:{_UNIT})|[ ]*[,\n][ ,\n>]{{0,8}}"
    rf"(?:{_POSTCODE} {_WORDS}|{_TOWN_WORDS}|nan\b|{_POSTCODE}(?! ?\p{{L}}))"
    rf"| {_CAPITALS}(?: {_WORD})?(?: {_POSTCODE})?| {_POSTCODE}){{0,8}}"
)
_CUE = (
    r"(?i:address(?:es)?(?: here)?(?: they)?(?: is| are| to| with|:| was| has changed to)?[:\s>]*"
    r"|\b(?:lives?|lived|living|resides?|located|based|office is|offices are|meet)(?: now)? (?:at|in|on) "
    r"|\b(?:ship|send|sent|deliver|delivered|return|mail|post|move|moved|taxi|come|one|arrived?|card|same)"
    r"(?: it| them| this)?(?: to|at|:| at) ?)"
)
_CUED_STREET = rf"(?:{_NUMBERED_STREET}|{_HOUSES}(?: {_PLAIN_WORD}){{1,5}}|{_WORDS} \d{{1,5}}[a-z]?)"
_BARE_STREET = rf"(?<![\p{{L}}\d.,\-])(?:(?:{_UNIT}) )?(?=\d\d){_NUMBERED_STREET}(?=[ ]*(?:[,.?!\n]|{_UNIT})|$)"
_STREET_WORD = rf"(?:{_WORD}|{_SMALL}|\d{{1,5}}\.?)"
# A flat's number says that what stands before it is a street, whatever the language.
_STREET_OF_UNIT = (
    rf"(?<![\p{{L}}\d.,\-])(?:{_HOUSES}(?: {_STREET_WORD}){{1,6}}"
    rf"|{_WORD}(?: {_STREET_WORD}){{0,4}}? \d{{1,5}}\.?(?: {_WORD}){{0,3}})"
    rf"[ ,\n>]{{1,6}}(?i:apt|suite|flat|unit)\b\.? ?\d+[A-Za-z]?"
)

RULES: tuple[Rule, ...] = (
    rule(
        "address",
        rf"(?:{_PROVINCE}(?:{_DISTRICT}){{0,3}}|(?:{_DISTRICT}){{1,3}})(?:{_TOWN}){{0,2}}"
        rf"(?:{_ROAD}|{_ESTATE}|{_TOWN}){_NUMBERED}{_DETAIL}{{0,6}}",
        needs=rf"\p{{Han}}{_NUMBERED}",
    ),
    rule("address", rf"{_PLACE}{_ROAD}{_NUMBERED}{_DETAIL}{{0,6}}", needs=rf"\p{{Han}}{_NUMBERED}"),
    rule("address", rf"{_MILITARY}", needs="[AFD]PO"),
    rule("address", rf"(?:{_NUMBER} )?{_BOX}{_TAIL}", needs="(?i)box|postfach"),
    rule("address", rf"{_CORNER}{_TAIL}", needs="corner of"),
    rule("address", rf"(?<![\p{{L}}\d.,\-])(?:{_ENGLISH_STREET}){_TAIL}", needs=r"\d"),
    rule("address", rf"(?<![\p{{L}}\d])(?:{_OTHER_STREET}){_TAIL}", needs=r"\d"),
    rule("address", rf"{_CUE}(?P<it>{_CUED_STREET}{_TAIL})", needs=r"\d"),
    rule("address", rf"{_STREET_OF_UNIT}{_TAIL}", needs=r"(?i)(?:apt|suite|flat|unit)\b\.? ?\d"),
    rule("address", rf"{_BARE_STREET}{_TAIL}", needs=r"\d"),
)
