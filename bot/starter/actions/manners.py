"""How the assistant behaves whatever it is about: greeting, yes and no, an apology, stopping, noticing a bad mood.

The words are in domain/; here is only which of them fit the form that is open. What a yes sets going is in
data/rules.yml. The invariant: nothing here ends or fills a form.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from rasa_sdk import Action, Tracker
from rasa_sdk.events import EventType, SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict

from .seasons import occasion
from .turns import SHOP_TIMEZONE, WISHES, forget, language_of

# A greeting is read where the customer is: our Chinese customers live eight time zones from Berlin.
_TIMEZONES = {"en": SHOP_TIMEZONE, "zh": ZoneInfo("Asia/Shanghai")}

_BAD_MOOD = 2
_MOOD_WINDOW = 3
# Messages after an offer in which it is not repeated: asking again and again would be one more annoyance.
_OFFER_PAUSE = 5
_OFFER = "utter_offer_person"
# These messages get the offer of a person by themselves.
_OFFERED_ANYWAY = ("complaint", "human_handoff", "damaged_item", "self_harm", "legal_threat", "toxic")
_FORMS_OF_PEOPLE = ("handoff_form", "complaint_form")


class ActionGreet(Action):
    """Greets by feast or time of day; in the middle of a form only briefly, the form's question follows."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_greet"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say utter_greet_<occasion> or utter_hello_again."""
        if form_of(tracker):
            dispatcher.utter_message(response="utter_hello_again")
        else:
            now = datetime.now(_TIMEZONES[language_of(tracker)])
            dispatcher.utter_message(response=f"utter_greet_{occasion(now)}")
        return []


class _SaysByForm(Action, ABC):
    """Says what fits the open form; in a form that is not named, what fits `elsewhere`."""

    outside: str
    elsewhere: str
    inside: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def name(self) -> str:
        """Name the action."""

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say it; the form goes on by itself."""
        form = form_of(tracker)
        dispatcher.utter_message(response=self.inside.get(form, self.elsewhere) if form else self.outside)
        return []


class ActionAffirm(_SaysByForm):
    """A yes that answers no question of ours."""

    outside, elsewhere = "utter_affirm", "utter_continue"
    inside: ClassVar = {"handoff_form": "utter_handoff_nearly", "complaint_form": "utter_handoff_nearly"}

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_affirm"


class ActionDeny(_SaysByForm):
    """A no that answers no question of ours, or "I haven't got that" to a form's."""

    outside, elsewhere = "utter_deny", "utter_order_help"
    inside: ClassVar = {"complaint_form": "utter_complaint_needs_contact"}

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_deny"


class ActionApologise(_SaysByForm):
    """The first answer to a complaint; a yes to it opens a ticket, a second complaint calls a person."""

    outside, elsewhere = "utter_complaint", "utter_complaint_in_form"
    inside: ClassVar = {"handoff_form": "utter_complaint_in_handoff", "complaint_form": "utter_complaint_in_handoff"}

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_apologise"


class ActionStop(Action):
    """After "never mind": says what has just been left, and forgets what was typed for it."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_stop"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """The rule has closed the form before; the events tell which one it was."""
        left = form_left(tracker.events)
        if left is None:
            dispatcher.utter_message(response="utter_nothing_to_cancel")
        elif left in _FORMS_OF_PEOPLE:
            dispatcher.utter_message(response="utter_handoff_declined")
        else:
            dispatcher.utter_message(response="utter_cancelled")
        return [*forget(), *forget(WISHES)]


class ActionForgetDetails(Action):
    """Empties what the customer typed for a form that is over."""

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_forget_details"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Say nothing and empty the forms' slots, and what else was wished for: the matter is over."""
        return [*forget(), *forget(WISHES)]


class ActionReadMood(Action):
    """Fills the slot `mood` after each message, and offers a person by itself when the mood stays bad.

    It reads the sentiment that Kefu's model leaves beside the intent; where nobody does (Rasa), it stays quiet.
    """

    def name(self) -> str:
        """Name the action as domain/domain.yml does."""
        return "action_read_mood"

    async def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict) -> list[EventType]:
        """Set `mood` to strained or empty it."""
        if not is_strained(tracker.events):
            return [SlotSet("mood", None)] if tracker.get_slot("mood") else []
        intent = (tracker.latest_message.get("intent") or {}).get("name")
        is_with_people = intent in _OFFERED_ANYWAY or form_of(tracker) in _FORMS_OF_PEOPLE
        if not is_with_people and not was_offered(tracker.events):
            dispatcher.utter_message(response=_OFFER)
        return [SlotSet("mood", "strained")]


def form_of(tracker: Tracker) -> str | None:
    """Give the form that is open."""
    name: str | None = (tracker.active_loop or {}).get("name")
    return name


def form_left(events: Iterable[Mapping[str, Any]]) -> str | None:
    """Give the form that the last `active_loop: null` ended, if it ended one."""
    form: str | None = None
    left: str | None = None
    for event in events:
        if event.get("event") in ("session_started", "restart"):
            form = left = None
        elif event.get("event") in ("active_loop", "form"):
            form, left = event.get("name"), form
    return left if form is None else None


def is_strained(events: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether the last message is negative, and not the only one of the last few."""
    moods = [_is_negative(event) for event in events if event.get("event") == "user"][-_MOOD_WINDOW:]
    return bool(moods) and moods[-1] and sum(moods) >= _BAD_MOOD


def was_offered(events: Iterable[Mapping[str, Any]]) -> bool:
    """Say whether a person was offered within the last few messages."""
    messages_since: int | None = None
    for event in events:
        if event.get("event") == "bot" and (event.get("metadata") or {}).get("utter_action") == _OFFER:
            messages_since = 0
        elif event.get("event") == "user" and messages_since is not None:
            messages_since += 1
    return messages_since is not None and messages_since <= _OFFER_PAUSE


def _is_negative(event: Mapping[str, Any]) -> bool:
    sentiment = (event.get("parse_data") or {}).get("sentiment")
    return isinstance(sentiment, Mapping) and sentiment.get("name") == "negative"
