"""How the company speaks and looks (`brand.yml`): names, greetings, disclosure, voice, colours, what the widget asks.

Invariant: every text exists in English and Chinese; what the file leaves out comes from the defaults below.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from bot.assistant.answer_words import DEFAULT_ANSWER_WORDS, AnswerWords, read_answer_words
from bot.assistant.brand_voice import Voice, read_voices
from bot.assistant.colors import check_colors
from bot.assistant.greetings import Greeting, greeting_at, read_greetings
from bot.assistant.hours import OpeningHours, read_hours
from bot.assistant.source import Node, Problems
from bot.assistant.texts import Texts, read_texts

INPUTS = ("text", "email", "tel", "number")
MAX_FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One question of the form before the chat; the bot finds the answer as `metadata.context.<name>`."""

    name: str
    label: Texts
    input: str = "text"
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class PreChat:
    """What the widget asks a new visitor before the first message."""

    text: Texts
    fields: tuple[FormField, ...]


@dataclass(frozen=True, kw_only=True)
class Csat:
    """The question at the end of a chat. The answer comes as `/<intent>{"rating": "4", "comment": "…"}`."""

    intent: str
    text: Texts
    max: int = 5


@dataclass(frozen=True, kw_only=True)
class Brand:
    """All of `brand.yml`.

    Attributes:
        greeting: what is shown where none of `greetings` fits.
        timezone: of `hours`, else of kefu.yml.
        answers: by language, what stands around an answer from a document.
    """

    name: Texts
    assistant_name: Texts
    greeting: Texts
    disclosure_text: Texts
    disclosure_enabled: bool
    colors: Mapping[str, str]
    reply_within: Texts
    greetings: tuple[Greeting, ...] = ()
    timezone: str = "UTC"
    voices: Mapping[str, Voice] = field(default_factory=dict)
    avatar: str | None = None
    hours: OpeningHours | None = None
    pre_chat: PreChat | None = None
    csat: Csat | None = None
    answers: Mapping[str, AnswerWords] = field(default_factory=lambda: DEFAULT_ANSWER_WORDS)

    def disclosure(self, language: str | None) -> str:
        return self.disclosure_text.get(language or "en") or self.disclosure_text["en"]

    def greeting_at(self, now: datetime) -> Texts:
        """The greeting of the moment; `now` knows its time zone."""
        return greeting_at(self.greetings, now.astimezone(ZoneInfo(self.timezone)), self.greeting)

    def voice(self, language: str) -> Voice:
        """How a language sounds; one that the file does not speak of is held to nothing much."""
        return self.voices.get(language.partition("-")[0], _ANY_VOICE)

    def names(self, language: str) -> tuple[str, str]:
        """The assistant's and the company's."""
        both = self.assistant_name, self.name
        assistant, company = (texts.get(language) or texts["en"] for texts in both)
        return assistant, company

    def answer_words(self, language: str) -> AnswerWords:
        """What stands around an answer to a customer of that language."""
        return self.answers.get(language) or self.answers["en"]

    @property
    def sign_offs(self) -> Texts:
        """What stands below answers from documents, in the languages that have it."""
        return {language: voice.sign_off for language, voice in self.voices.items() if voice.sign_off}


_ANY_VOICE = Voice()

DEFAULT_BRAND = Brand(
    name={"en": "Our shop", "zh": "本店"},
    assistant_name={"en": "Assistant", "zh": "客服助手"},
    greeting={"en": "Hello! How can I help you?", "zh": "您好，请问有什么可以帮您？"},
    disclosure_text={
        "en": "I am an automated assistant. You can ask for a person at any time.",
        "zh": "我是自动客服助手，您随时可以要求转接人工。",
    },
    disclosure_enabled=True,
    colors={"primary": "#1f4e79", "on_primary": "#ffffff", "background": "#ffffff", "text": "#1b1b1b"},
    reply_within={"en": "within one working day", "zh": "一个工作日内"},
)

_KEYS = frozenset(
    {"name", "assistant_name", "greeting", "disclosure", "colors", "hand_off", "avatar", "hours", "pre_chat", "csat"}
    | {"answers", "greetings", "voice"}
)
_PRE_CHAT_TEXT: Texts = {
    "en": "A few words about you, so that we can help at once.",
    "zh": "请先留下几项信息，方便我们为您服务。",
}
_CSAT_TEXT: Texts = {"en": "How was this conversation?", "zh": "您对这次服务满意吗？"}


def read_brand(
    root: Node | None, problems: Problems, intents: Collection[str] | None = None, timezone: str = "UTC"
) -> Brand:
    """The brand of `brand.yml`; the defaults where there is no such file.

    Args:
        intents: those of the domain.
        timezone: the company's, where `hours` name none.
    """
    default = DEFAULT_BRAND
    if root is None or not root.expect_map(problems):
        return default
    root.warn_unknown_keys(_KEYS, problems)
    disclosure, hand_off = root.get("disclosure"), root.get("hand_off")
    enabled = disclosure.get("enabled") if disclosure else None
    colors, avatar = root.get("colors"), root.get("avatar")
    chosen = {name: value for name, node in colors.items() if (value := node.text(problems))} if colors else {}
    check_colors(colors, default.colors, problems)
    hours = read_hours(root.get("hours"), problems)
    return Brand(
        name=read_texts(root.get("name"), default.name, problems),
        assistant_name=read_texts(root.get("assistant_name"), default.assistant_name, problems),
        greeting=read_texts(root.get("greeting"), default.greeting, problems),
        disclosure_text=read_texts(disclosure.get("text") if disclosure else None, default.disclosure_text, problems),
        disclosure_enabled=not enabled or enabled.flag(problems) is not False,
        colors={**default.colors, **chosen},
        reply_within=read_texts(hand_off.get("reply_within") if hand_off else None, default.reply_within, problems),
        avatar=avatar.text(problems) if avatar and not avatar.is_null else None,
        greetings=read_greetings(root.get("greetings"), problems),
        timezone=hours.timezone if hours else timezone,
        voices=read_voices(root.get("voice"), problems),
        hours=hours,
        pre_chat=_read_pre_chat(root.get("pre_chat"), problems),
        csat=_read_csat(root.get("csat"), problems, intents),
        answers=read_answer_words(root.get("answers"), problems),
    )


def _read_pre_chat(node: Node | None, problems: Problems) -> PreChat | None:
    if node is None or not node.expect_map(problems):
        return None
    node.warn_unknown_keys(frozenset({"text", "fields"}), problems)
    fields = node.get("fields")
    if fields is None or not fields.is_list or not fields.value:
        problems.error(
            node, "the form before the chat has no fields", "Write `fields:` with a list of `name`, `label`."
        )
        return None
    found = [field for each in fields.elements() if (field := _read_field(each, problems))]
    if len(found) > MAX_FIELDS:
        problems.warning(
            fields, f"{len(found)} questions before the chat", f"More than {MAX_FIELDS} send customers away; ask later."
        )
    return PreChat(text=read_texts(node.get("text"), _PRE_CHAT_TEXT, problems), fields=tuple(found))


def _read_field(node: Node, problems: Problems) -> FormField | None:
    if not node.expect_map(problems):
        return None
    node.warn_unknown_keys(frozenset({"name", "label", "input", "required"}), problems)
    name, label, kind, required = (node.get(key) for key in ("name", "label", "input", "required"))
    key = name.text(problems) if name else None
    if not key:
        problems.error(
            node, "this field has no name", "Write `name: email`; the bot reads it as metadata.context.email."
        )
        return None
    shown = (kind.text(problems) if kind else None) or "text"
    if shown not in INPUTS:
        problems.error(kind, f"no such kind of field: '{shown}'", f"Choose one of: {', '.join(INPUTS)}.")
        shown = "text"
    return FormField(
        name=key,
        label=read_texts(label, {"en": key, "zh": key}, problems),
        input=shown,
        is_required=bool(required and required.flag(problems)),
    )


def _read_csat(node: Node | None, problems: Problems, intents: Collection[str] | None) -> Csat | None:
    if node is None or not node.expect_map(problems):
        return None
    node.warn_unknown_keys(frozenset({"intent", "text", "max"}), problems)
    intent, most = node.get("intent"), node.get("max")
    name = intent.text(problems) if intent else None
    if not name:
        problems.error(
            node, "the question at the end has no intent", "Write `intent: rate_chat`, and a rule that answers it."
        )
        return None
    name = name.removeprefix("/")
    if intents is not None and name not in intents:
        problems.warning(
            intent, f"the domain has no intent '{name}'", "Add it to domain.yml, and a rule that answers the rating."
        )
    stars = (most.number(problems) if most else None) or 5
    if stars not in range(3, 11):
        problems.error(most, f"a rating of {stars:g} steps cannot be shown", "Choose 3 to 10.")
        stars = 5
    return Csat(intent=name, text=read_texts(node.get("text"), _CSAT_TEXT, problems), max=int(stars))
