"""`action_suggest` on a running bot: what the tracker tells of a customer, and the cards that are shown.

What is chosen is `bot.answers.suggest_service`'s. Invariant: who does not want suggestions gets none, and is known to
the orders only by what the platform has verified.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.answers.suggest_service import Suggested, Suggestion, Suggestions
from bot.assistant.catalogue import in_language
from bot.assistant.domain import SUGGEST_ACTION
from bot.assistant.suggestions import SuggestionsConfig
from bot.dialogue.effects import ActionCrashed, ActionResult, EffectResult, RunAction
from bot.dialogue.remote import IDEMPOTENCY_KEY
from bot.dialogue.responses import fill
from bot.turns import ActionRunner
from connectors.base import PUSHED
from models.languages import identify_language

SUGGESTIONS = "suggestions"
"""The slot that says "off" for who wants none, and where the bot's message keeps how its things were chosen."""
UNWANTED = "off"
HEADER, NOTHING = "utter_suggestions", "utter_no_suggestions"
"""Responses for above the cards, and for where there are none."""
HEADERS: Mapping[str, str] = {"en": "These could be something for you:", "zh": "这几样您可能会喜欢："}
MORE: Mapping[str, str] = {"en": "Tell me more", "zh": "看看这件"}
SURELY = 0.5
"""From here on a thing is about what the customer named; below, it only fits."""
ABOUT: Mapping[str, str] = {"en": "Because you asked about “{}”", "zh": "因为您问到了“{}”"}
FITTING: Mapping[str, str] = {"en": "Fits what you asked about", "zh": "和您刚才说的对得上"}
BESIDE: Mapping[str, str] = {
    "en": "Because you bought the {}; others took both",
    "zh": "因为您买过{}，不少顾客两样都买了",
}
POPULAR: Mapping[str, str] = {"en": "Many of our customers took it", "zh": "店里不少人买过"}
OTHER: Mapping[str, str] = {"en": "Something else, for a change", "zh": "换换口味，也看看这件"}


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message of the customer; `topic` is the thing that it named, in the customer's words."""

    text: str
    topic: str | None = None


class SuggestingActions:
    """An assistant's actions, and Kefu's own `action_suggest` beside them."""

    def __init__(self, actions: ActionRunner, suggestions: Suggestions) -> None:
        self._actions, self._suggestions = actions, suggestions

    async def run(self, effect: RunAction, deadline_s: float) -> EffectResult:
        if effect.name != SUGGEST_ACTION:
            return await self._actions.run(effect, deadline_s)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.to_thread(act, self._suggestions, effect)
        except TimeoutError:
            return ActionCrashed(error=f"no suggestions within {deadline_s:g} s; a catalogue is read only once")

    async def close(self) -> None:
        await self._actions.close()


def act(suggestions: Suggestions, effect: RunAction) -> ActionResult:
    """Show something, or say `utter_no_suggestions` where that response exists."""
    tracker, config, responses = effect.tracker, suggestions.config, effect.domain.get("responses") or {}
    if config is None or tracker["slots"].get(SUGGESTIONS) == UNWANTED:
        return _nothing(responses)
    said, language = list(messages(tracker, config.entity)), language_of(tracker, suggestions.language)
    metadata = tracker["latest_message"].get("metadata") or {}
    names = customers(str(tracker["sender_id"]), metadata)
    # The key is the same when the turn has to run again, and nobody else's.
    found = suggestions.suggest([each.text for each in said], names, language, str(metadata.get(IDEMPOTENCY_KEY)))
    if found is None:
        return _nothing(responses)
    header = {"response": HEADER} if HEADER in responses else {"text": _in(HEADERS, language)}
    return ActionResult(responses=({**header, "custom": cards(found, said, language, config), SUGGESTIONS: found.log},))


def _nothing(responses: Mapping[str, Any]) -> ActionResult:
    return ActionResult(responses=({"response": NOTHING},) if NOTHING in responses else ())


# ---- what the tracker tells ----


def messages(tracker: Mapping[str, Any], entity: str) -> Iterator[Said]:
    """What the customer said in this session, the last message first; a button says what it names."""
    for event in reversed(tracker["events"]):
        if event["event"] != "user" or (event.get("metadata") or {}).get("is_external"):
            continue
        entities = (event.get("parse_data") or {}).get("entities") or ()
        topics = [str(each["value"]) for each in entities if each.get("entity") == entity and each.get("value")]
        text = str(event.get("text") or "")
        if text.startswith("/"):
            text = " ".join(topics)
        if text.strip():
            yield Said(text=text, topic=topics[0] if topics else None)


def customers(sender_id: str, metadata: Mapping[str, Any]) -> list[str]:
    """What orders may call this customer: only what the channel vouches for, or the shop has signed."""
    by_channel = [sender_id] if sender_id.partition(":")[0] in PUSHED else []
    identity = metadata.get("identity")
    if not isinstance(identity, Mapping) or identity.get("verified") is not True:
        return by_channel
    return [*by_channel, *(str(identity[name]) for name in ("email", "phone") if identity.get(name))]


def language_of(tracker: Mapping[str, Any], otherwise: str) -> str:
    """The conversation's language, else the last message's."""
    language = tracker["slots"].get("language") or identify_language(str(tracker["latest_message"].get("text") or ""))
    return str(language) if language != "und" else otherwise


# ---- what is shown ----


def cards(found: Suggested, said: Sequence[Said], language: str, config: SuggestionsConfig) -> dict[str, Any]:
    """A card, or a carousel of several (the rich-message schema)."""
    shown = [_card(each, said, language, config) for each in found.shown]
    return {"type": "card", **shown[0]} if len(shown) == 1 else {"type": "carousel", "cards": shown}


def reason(one: Suggestion, said: Sequence[Said], language: str) -> str:
    """Why this customer is shown it, in their language."""
    if one.why == "asked":
        topic = said[one.message].topic
        is_sure = topic is not None and one.evidence.asked >= SURELY
        return _in(ABOUT, language).format(topic) if is_sure else _in(FITTING, language)
    if one.why == "together":
        return _in(BESIDE, language).format(one.beside.name(language))
    return _in(POPULAR if one.evidence.popular > 0 else OTHER, language)


def _card(one: Suggestion, said: Sequence[Said], language: str, config: SuggestionsConfig) -> dict[str, Any]:
    item, why = one.item, reason(one, said, language)
    line = in_language(config.card, language) if config.card else ""
    card: dict[str, Any] = {
        "title": _titled(item.name(language)),
        "subtitle": "\n".join(part for part in (str(fill(line, item.columns)), why) if part),
    }
    if image := item.columns.get("image_url"):
        card["image_url"] = image
    if button := _button(item.name(language), item.columns.get("url"), language, config):
        card["buttons"] = [button]
    return card


def _button(name: str, url: str | None, language: str, config: SuggestionsConfig) -> dict[str, str] | None:
    if config.intent is not None:
        payload = json.dumps({config.entity: name}, ensure_ascii=False)
        return {"title": _in(MORE, language), "payload": f"/{config.intent}{payload}"}
    return {"title": _in(MORE, language), "url": url} if url else None


def _titled(name: str) -> str:
    return name[0].upper() + name[1:]


def _in(words: Mapping[str, str], language: str) -> str:
    return words.get(language, words["en"])
