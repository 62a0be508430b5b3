"""What the words before a number say of it. A number that they call an order or an article stays."""

from __future__ import annotations

import regex

# How far before a number its label may begin.
LABEL_CHARACTERS = 48

NUMBER_WORD = r"(?:[ _]?(?:numbers?|no|nr|num|id|code|ids?)\b|号码|号|码)?"
LINK = r"(?:[\s.:#：=\-]|\bis\b|\bwas\b|是|为)*"
# Not of a person: what stands between such a word and the number is at most "number", "no.:", "#".
THING_LABEL = regex.compile(
    r"(?:\b(?:orders?|invoice|tracking|parcel|shipment|ticket|case|ref|reference|serial|sku|article|item|product|model"
    r"|part|isbn|ean|gtin|upc|transaction|voucher|coupon|booking|reservation|receipt|version|size|batch|lot)"
    r"|订单|单|编号|快递|物流|流水|型号|货号|商品|产品|发票|券|条码|条形码|序列|积分|金额|批次|版本|尺寸|规格"
    r"|(?<!\b(?:phone|telephone|tel|mobile|cell|fax|card|account)\s?)#)"
    rf"{NUMBER_WORD}{LINK}(?:[A-Za-z]{{1,4}}-?)?$",
    regex.IGNORECASE,
)


def digits_of(text: str) -> str:
    """Its digits as ASCII: full-width ones count."""
    return "".join(str(int(character)) for character in text if character.isdecimal())


def is_labelled(match: regex.Match[str], label: regex.Pattern[str]) -> bool:
    start = match.start()
    return label.search(match.string[max(0, start - LABEL_CHARACTERS) : start]) is not None
