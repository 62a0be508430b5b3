"""A small bilingual data set and n-gram versions trained from it: real training, real serving, about a second."""

from __future__ import annotations

from pathlib import Path

from models.base import KIND, Manifest
from models.pretrained import ngram_base
from models.registry import Registry
from training.dataset import EntityValue, UnderstandingData, Utterance
from training.finetune_understanding import Recipe, train_understanding

ASSISTANT = "tiny"
_INTENTS = {
    ("greet", "en"): ("hello there", "good morning", "hi team", "hey, hello", "good evening to you", "hello again"),
    ("greet", "zh"): ("你好", "您好呀", "早上好", "你好，在吗", "晚上好", "大家好"),
    ("order_status", "en"): (
        "where is my order",
        "has my parcel been shipped",
        "track order A-1001",
        "when will my order arrive",
        "my order has not arrived",
        "order status please",
    ),
    ("order_status", "zh"): (
        "我的订单到哪了",
        "快递什么时候到",
        "查一下订单",
        "订单发货了吗",
        "包裹还没到",
        "物流信息查询",
    ),
    ("return_item", "en"): (
        "I want to return these shoes",
        "how do I send it back",
        "refund my purchase",
        "return label please",
        "can I return a lamp",
        "give me my money back",
    ),
    ("return_item", "zh"): ("我要退货", "怎么退款", "申请退货", "这双鞋想退掉", "退货地址在哪", "可以退吗"),
}
_SENTIMENT = {
    "negative": ("this is terrible", "I am very angry", "太差了", "非常失望"),
    "neutral": ("where is it", "order please", "查一下", "什么时候到"),
    "positive": ("great, thank you", "I love it", "太好了", "非常满意"),
}


def tiny_data(extra: tuple[Utterance, ...] = ()) -> UnderstandingData:
    intents = tuple(
        Utterance(text=text, label=label, language=language)
        for (label, language), texts in _INTENTS.items()
        for text in texts
    )
    shoes = Utterance(
        text="return the red trainers",
        label="return_item",
        language="en",
        entities=(EntityValue(entity="product", text="trainers", value="shoes"),),
    )
    sentiment = tuple(Utterance(text=text, label=label) for label, texts in _SENTIMENT.items() for text in texts)
    return UnderstandingData(intents=(*intents, shoes, *extra), sentiment=sentiment)


def train_tiny(out: Path, extra: tuple[Utterance, ...] = (), recipe: Recipe | None = None) -> Manifest:
    return train_understanding(tiny_data(extra), recipe or Recipe(threads=1), ngram_base(), out, ASSISTANT)


def filed(registry: Registry, folder: Path, extra: tuple[Utterance, ...] = ()) -> str:
    """Train a version and file it."""
    train_tiny(folder, extra)
    return registry.add(KIND, folder)
