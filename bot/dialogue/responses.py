"""Response → bot message: which variation, and what stands in its placeholders.

Invariant: what is inserted is never read again as a template, whatever a customer wrote.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bot.assistant.domain import Domain, Variation
from bot.dialogue.events import BotUttered

_DATA_KEYS = ("elements", "quick_replies", "buttons", "attachment", "image", "custom")
_FILLED_KEYS = ("text", "image", "custom", "buttons", "attachment", "quick_replies")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^\n{}]+)\}")


def response_channels(input_channel: str | None) -> tuple[str, ...]:
    """The names under which a channel is addressed in `channel:`; Rasa knows its REST channel as `collector`."""
    if input_channel == "rest":
        return ("collector", "rest")
    return (input_channel,) if input_channel else ()


def choose_variation(
    domain: Domain, name: str, slots: Mapping[str, Any], channels: Sequence[str], rng: random.Random
) -> Variation | None:
    """One of the best fitting variations, at random; None where there is none."""
    fitting = _fitting(domain, name, slots, channels)
    return rng.choice(fitting) if len(fitting) > 1 else next(iter(fitting), None)


def response_id(domain: Domain, name: str, slots: Mapping[str, Any], channels: Sequence[str]) -> Any:
    """The `id` that an nlg server is told: the first best fitting variation's; None where two of them share one."""
    ids = [variation.body.get("id") for variation in _fitting(domain, name, slots, channels)]
    named = [one for one in ids if one]
    is_unique = all(one not in named[:place] for place, one in enumerate(named))
    return ids[0] if ids and is_unique else None


def _fitting(domain: Domain, name: str, slots: Mapping[str, Any], channels: Sequence[str]) -> Sequence[Variation]:
    """The best fitting variations.

    Order of preference, as in Rasa: condition and channel fit, channel fits, condition fits, neither is asked for.
    """
    variations = domain.responses.get(name, ())
    plain = [variation for variation in variations if not variation.is_conditional]
    fulfilled = [variation for variation in variations if variation.conditions and _holds(variation, slots)]
    groups = [
        *([item for item in fulfilled if item.channel == channel] for channel in channels),
        *([item for item in plain if item.channel == channel] for channel in channels),
        [item for item in fulfilled if item.channel is None],
        [item for item in plain if item.channel is None],
    ]
    return next((group for group in groups if group), [])


def _holds(variation: Variation, slots: Mapping[str, Any]) -> bool:
    for name, expected in variation.conditions:
        value = slots.get(name)
        if isinstance(value, str) and isinstance(expected, str):
            if value.casefold() != expected.casefold():
                return False
        elif value != expected:
            return False
    return True


def generate(variation: Variation, values: Mapping[str, Any]) -> dict[str, Any]:
    """The variation's message with the values filled in."""
    draft = dict(variation.body)
    for key in _FILLED_KEYS:
        if key in draft and values:
            draft[key] = fill(draft[key], values)
    return draft


def inserted(text: str, values: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What `fill` puts into a text, in order; None where it leaves the text as it is, for a name is unknown."""
    names = _names(text)
    return tuple(str(values[name]) for name in names) if all(name in values for name in names) else None


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Replace `{name}` in every string of the template, in one pass.

    A text with an unknown name stays as it is, as in Rasa; `{{` and `}}` are literal braces.
    """
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    return template


def _fill_text(text: str, values: Mapping[str, Any]) -> str:
    if "{" not in text and "}" not in text:
        return text
    if any(name not in values for name in _names(text)):
        return text
    return _PLACEHOLDER.sub(lambda found: found[0][0] if found[1] is None else str(values[found[1]]), text)


def _names(text: str) -> list[str]:
    return [found[1] for found in _PLACEHOLDER.finditer(text) if found[1] is not None]


def bot_uttered(message: Mapping[str, Any]) -> BotUttered:
    """The event of a bot message; what is neither text nor data becomes metadata, as in Rasa."""
    data = {key: message[key] for key in _DATA_KEYS if message.get(key) is not None}
    if "image" in data:
        data.setdefault("attachment", data["image"])
    metadata = {key: value for key, value in message.items() if key != "text" and key not in _DATA_KEYS}
    text = message.get("text")
    return BotUttered(text=None if text is None else str(text), data=data, metadata=metadata)


def uttered_by_action(own: Mapping[str, Any], draft: Mapping[str, Any]) -> BotUttered:
    """The event of one message of a custom action: its `own` words and values, over the response that it names."""
    own, draft = dict(own), dict(draft)
    buttons = own.pop("buttons", None)
    if isinstance(buttons, list) and buttons:
        draft["buttons"] = [*(draft.get("buttons") or []), *buttons]
    draft |= {key: value for key, value in own.items() if value}
    return bot_uttered(draft)


def message_body(event: BotUttered) -> dict[str, Any]:
    """Rasa's bot message: text and data, only what is set; an attachment only where it is not the image again."""
    body: dict[str, Any] = {} if event.text is None else {"text": event.text}
    body |= {key: value for key, value in event.data.items() if value is not None}
    if "image" in body and body.get("attachment") == body["image"]:
        del body["attachment"]
    return body
