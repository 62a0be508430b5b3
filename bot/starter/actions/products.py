"""The demo catalogue: reading products.csv, finding what a customer names, choosing what suits a wish.

Your shop replaces `catalogue` with its own. Nothing here talks to the customer. The invariant: pure look-ups; the same
words find the same products, in the order of the catalogue.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .orders import folded, money

PRODUCTS_FILE = Path(__file__).with_name("products.csv")

# How people name a whole kind of thing.
_CATEGORIES: Mapping[str, tuple[str, ...]] = {
    "lamp": ("lamp", "lamps", "light", "lights", "lighting", "灯", "灯具", "灯饰"),
    "lantern": ("lantern", "lanterns", "灯笼"),
    "throw": ("throw", "throws", "blanket", "blankets", "毯"),
    "bedding": ("bedding", "bed linen", "sheets", "duvet", "床品", "床上用品", "被"),
    "cushion": ("cushion", "cushions", "pillow", "靠垫", "抱枕", "垫"),
    "curtain": ("curtain", "curtains", "drapes", "窗帘", "帘"),
    "rug": ("rug", "rugs", "carpet", "carpets", "地毯"),
    "table": ("table linen", "tableware", "餐桌", "桌布"),
}

# Words of a wish, and the tag of products.csv they stand for.
_WISHES: Mapping[str, tuple[str, ...]] = {
    "gift": ("gift", "present", "birthday", "housewarming", "送礼", "礼物", "送人", "生日", "乔迁", "送朋友"),
    "parents": (
        "mum",
        "mom",
        "mother",
        "dad",
        "father",
        "parents",
        "grandma",
        "妈",
        "爸",
        "父母",
        "长辈",
        "老人",
        "奶奶",
    ),
    "child": (
        "child",
        "kid",
        "kids",
        "baby",
        "nursery",
        "daughter",
        "son",
        "孩子",
        "宝宝",
        "儿童",
        "小孩",
        "女儿",
        "儿子",
    ),
    "wedding": ("wedding", "newlyweds", "结婚", "新婚", "婚礼"),
    "guest": ("guest", "guests", "visitors", "客人", "客房", "请客"),
    "festive": ("christmas", "new year", "party", "festival", "春节", "过年", "中秋", "圣诞", "过节"),
    "reading": ("read", "reading", "book", "books", "看书", "阅读", "读书"),
    "study": ("desk", "study", "office", "work", "书房", "书桌", "办公"),
    "bedroom": ("bedroom", "bed", "sleep", "bedside", "卧室", "睡", "床"),
    "living": ("living room", "sofa", "couch", "客厅", "沙发"),
    "dining": ("dining", "dinner", "table", "餐厅", "餐桌", "吃饭"),
    "kitchen": ("kitchen", "厨房"),
    "garden": ("garden", "balcony", "terrace", "outdoor", "院子", "阳台", "花园", "户外"),
    "warm": ("warm", "cosy", "cozy", "cold", "暖", "冷"),
    "winter": ("winter", "冬"),
    "summer": ("summer", "hot", "cool", "夏", "凉", "热"),
    "allergy": ("allergy", "allergic", "sensitive", "过敏", "敏感"),
    "small": ("small", "little", "cheap", "tiny", "小", "便宜"),
}

_COMPANY = ("go with", "goes with", "match", "pair with", "next to", "together with", "搭", "配什么", "配个", "配我")

_HAN = re.compile(r"[\u4e00-\u9fff]")
_AMOUNT = re.compile(r"(?<![0-9.])[0-9]{1,5}(?:[.,][0-9]{1,2})?")


@dataclass(frozen=True)
class Product:
    """One thing the shop sells. Texts by language; `stock` pieces by colour, as the catalogue writes colours."""

    product_id: str
    names: Mapping[str, str]
    words: tuple[str, ...]
    category: str
    materials: Mapping[str, str]
    sizes: Mapping[str, str]
    care: Mapping[str, str]
    details: Mapping[str, str]
    why: Mapping[str, str]
    prices: Mapping[str, str]
    stock: Mapping[str, int]
    restock_days: int
    tags: frozenset[str]

    def price(self, language: str) -> str:
        """Give the price as this language's customers pay it."""
        return (
            money(self.prices["CNY"], "CNY", language)
            if language == "zh"
            else money(self.prices["EUR"], "EUR", language)
        )

    def amount(self, language: str) -> float:
        """Give the same price as a number."""
        return float(self.prices["CNY" if language == "zh" else "EUR"])

    def facts(self, language: str) -> dict[str, str]:
        """Give what the product responses fill in."""
        return {
            "product": self.names[language],
            "material": self.materials[language],
            "size": self.sizes[language],
            "care": self.care[language],
            "details": self.details[language],
            "price": self.price(language),
        }

    def colours(self, language: str, *, in_stock: bool) -> list[str]:
        """List the colours that are there, or those that are sold out."""
        return [colour_in(colour, language) for colour, pieces in self.stock.items() if (pieces > 0) is in_stock]


# The catalogue's colours in Chinese; what is a size or a socket needs no other name.
_COLOURS_ZH: Mapping[str, str] = {
    "brass": "黄铜色", "black": "黑色", "white": "白色", "celadon": "青瓷色", "natural": "原色", "sand": "沙色",
    "grey": "灰色", "clear": "透明", "amber": "琥珀色", "red": "红色", "green": "绿色", "walnut": "胡桃木色",
    "moss green": "苔绿色", "charcoal": "炭灰色", "oat": "燕麦色", "sage": "鼠尾草绿", "clay": "陶土色", "blue": "蓝色",
    "rose": "玫瑰粉", "terracotta": "赤陶色", "slate": "石板灰", "mist": "雾灰色", "haze blue": "雾霾蓝",
    "ivory": "象牙白", "blush": "浅粉色", "ochre": "赭黄色", "forest": "墨绿色", "plum": "梅紫色", "navy": "藏青色",
    "flax": "亚麻本色", "indigo": "靛蓝色", "cream": "米白色", "rust": "铁锈红",
}  # fmt: skip


def colour_in(colour: str, language: str) -> str:
    """Name a colour of the catalogue in this language."""
    return _COLOURS_ZH.get(colour, colour) if language == "zh" else colour


def find_products(text: str) -> list[Product]:
    """List the products that the words name most exactly; several if they fit equally, none if nothing fits.

    "brass reading lamp" is one product, "a lamp" a whole category.
    """
    said = folded(text).casefold()
    scored = [
        (max((len(word) for word in product.words if _says(said, word)), default=0), product) for product in catalogue()
    ]
    best = max((score for score, _ in scored), default=0)
    if best:
        return [product for score, product in scored if score == best]
    kinds = {kind for kind, words in _CATEGORIES.items() if any(_says(said, word) for word in words)}
    return [product for product in catalogue() if product.category in kinds]


def named_colour(text: str, product: Product) -> str | None:
    """Give the colour of this product that the customer asks for."""
    said = folded(text).casefold()
    for word in product.words:  # the brass in "brass reading lamp" is no wish for a colour
        said = said.replace(word, " ")
    for colour in product.stock:
        zh = colour_in(colour, "zh")
        # One character alone is too little: 白 is also in 明白.
        short = zh.removesuffix("色") if len(zh) > 2 else zh.replace("色", "的")
        if _says(said, colour) or zh in said or short in said:
            return colour
    return None


def has_wish(text: str) -> bool:
    """Say whether the words name a thing or mean something that a thing can be good for."""
    said = folded(text).casefold()
    return bool(_wishes(said) or find_products(text))


def suggest(text: str, language: str, budget: float | None = None, count: int = 3) -> list[Product]:
    """Choose up to `count` products for a wish: what the words name or mean, in stock and within the budget.

    Without a word that helps, the first of different kinds: something for everybody.
    """
    said = folded(text).casefold()
    wishes = _wishes(said)
    kinds = {product.category for product in find_products(text)}
    affordable = [
        product
        for product in catalogue()
        if any(product.stock.values()) and (budget is None or product.amount(language) <= budget)
    ]
    ranked = sorted(affordable, key=lambda product: -_fit(product, wishes, kinds))
    fitting = [product for product in ranked if _fit(product, wishes, kinds)]
    if fitting:
        best = _fit(fitting[0], wishes, kinds)
        return [product for product in fitting if _fit(product, wishes, kinds) * 2 >= best][:count]
    return _one_of_each_kind(affordable)[:count]


def goes_with(product: Product, count: int = 2) -> list[Product]:
    """Choose what stands well beside it: another kind of thing for the same room."""
    others = [other for other in catalogue() if any(other.stock.values()) and other.category != product.category]
    ranked = sorted(others, key=lambda other: -len(other.tags & product.tags))
    return _one_of_each_kind(ranked)[:count]


def asks_for_company(text: str) -> bool:
    """Say whether the wish is for something that goes with a thing, not for the thing."""
    said = folded(text).casefold()
    return any(word in said for word in _COMPANY)


def read_amount(text: str) -> float | None:
    """Read the largest amount of money in a message: "under €50", "两三百块以内" has none in digits."""
    amounts = [float(found.replace(",", ".")) for found in _AMOUNT.findall(folded(text))]
    return max(amounts, default=None)


@lru_cache(maxsize=1)
def catalogue() -> tuple[Product, ...]:
    """Give all products in the order of the file."""
    with PRODUCTS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(_product(row) for row in csv.DictReader(file))


def _product(row: Mapping[str, str]) -> Product:
    names = _both(row, "name")
    words = {*row["words_en"].split("|"), *row["words_zh"].split("|"), *names.values()}
    return Product(
        product_id=row["product_id"],
        names=names,
        words=tuple(sorted((word.casefold() for word in words), key=len, reverse=True)),
        category=row["category"],
        materials=_both(row, "material"),
        sizes=_both(row, "size"),
        care=_both(row, "care"),
        details=_both(row, "details"),
        why=_both(row, "why"),
        prices={"EUR": row["price_eur"], "CNY": row["price_cny"]},
        stock={colour: int(pieces) for colour, pieces in (item.split(":") for item in row["stock"].split("|"))},
        restock_days=int(row["restock_days"]),
        tags=frozenset(row["tags"].split("|")),
    )


def _both(row: Mapping[str, str], column: str) -> dict[str, str]:
    return {language: row[f"{column}_{language}"] for language in ("en", "zh")}


def _says(said: str, word: str) -> bool:
    """Chinese has no spaces to look between; English words must not be found inside others, but may have a plural."""
    if _HAN.search(word):
        return word in said
    return re.search(rf"(?<![a-z]){re.escape(word)}(?:s|es)?(?![a-z])", said) is not None


def _wishes(said: str) -> set[str]:
    return {tag for tag, words in _WISHES.items() if any(_says(said, word) for word in words)}


def _fit(product: Product, wishes: Iterable[str], kinds: Iterable[str]) -> int:
    return 2 * len(product.tags.intersection(wishes)) + 3 * (product.category in set(kinds))


def _one_of_each_kind(products: Sequence[Product]) -> list[Product]:
    seen: set[str] = set()
    chosen = []
    for product in products:
        if product.category not in seen:
            seen.add(product.category)
            chosen.append(product)
    return chosen
