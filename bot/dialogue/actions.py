"""Running one action: built-in, response, form, or custom. Which action comes next is the policies' business.

Invariant: reads the tracker, changes nothing; the result is the events that follow the `action` event.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from bot.assistant.domain import ANSWER_ACTION, DEFAULT_ACTIONS, HANDOFF_ACTION, REQUESTED_SLOT
from bot.dialogue.effects import Events, Steps
from bot.dialogue.events import (
    ACTION_LISTEN,
    ACTION_SESSION_START,
    ActionExecuted,
    ActiveLoop,
    HandoffRequested,
    Restarted,
    SessionStarted,
    SlotSet,
    UserUtteranceReverted,
)
from bot.dialogue.forms import FormRun
from bot.dialogue.parsing import ANY_INTENT, KNOWLEDGE, said_of
from bot.dialogue.remote import Crash, RemoteCall
from bot.dialogue.responses import bot_uttered
from bot.dialogue.slots import extract_slots
from bot.dialogue.tracker import Tracker
from bot.dialogue.two_stage import ASK_AFFIRMATION, ASK_REPHRASE, TWO_STAGE, ask_affirmation, run_two_stage

_CONTACT_SLOT = "handoff_contact"
_REASON_SLOT = "handoff_reason"
NO_ANSWER = "utter_no_answer"


@dataclass(frozen=True, kw_only=True)
class ActionRun:
    """Runs actions of one turn. `texts`: end-to-end actions, which say what they are called."""

    call: RemoteCall
    texts: Collection[str] = ()

    def run(self, name: str, tracker: Tracker) -> Steps[Events]:
        """The events of the action.

        Raises:
            Rejection: it declined to run.
            Crash: it failed.
        """
        domain = tracker.domain
        if name == HANDOFF_ACTION:
            return [_handoff(tracker)]
        if name == ANSWER_ACTION and name not in domain.custom_actions:
            return (yield from self._answer(tracker))
        is_overridden = name in domain.custom_actions or name in domain.responses or name in domain.forms
        if name in DEFAULT_ACTIONS and not is_overridden:
            return (yield from self._built_in(name, tracker))
        if name in domain.retrieval_actions:
            return (yield from self._utter_selected(name, tracker))
        if name in self.texts:
            return [bot_uttered({"text": name})]
        if name.startswith("utter_"):
            return (yield from self.utter(name, tracker))
        if name in domain.forms and name not in domain.custom_actions:
            return (yield from FormRun(form=domain.forms[name], tracker=tracker, call=self.call, ask=self.run).run())
        return (yield from self.call.run(name, tracker))

    def utter(self, name: str, tracker: Tracker) -> Steps[Events]:
        """Say a response; nothing where it has no fitting variation."""
        draft = yield from self.call.worded(name, tracker)
        return [] if draft is None else [bot_uttered({**draft, "utter_action": name})]

    def _answer(self, tracker: Tracker) -> Steps[Events]:
        """Say what the documents answered, as the message's parse data has it; else `utter_no_answer`, if it exists."""
        message = tracker.situation.message
        found = message.parse_data.get(KNOWLEDGE) if message else None
        if not isinstance(found, Mapping) or not isinstance(found.get("text"), str):
            return (yield from self.utter(NO_ANSWER, tracker))
        buttons = {"buttons": found["buttons"]} if found.get("buttons") else {}
        return [bot_uttered({"text": found["text"], **buttons, KNOWLEDGE: said_of(found)})]

    def _utter_selected(self, name: str, tracker: Tracker) -> Steps[Events]:
        """Say the response that was selected for the last message, as its parse data has it."""
        message = tracker.situation.message
        selection = message.parse_data.get("response_selector") if message else None
        if not isinstance(selection, Mapping):
            raise Crash(f"the message came with no selected response: {name} cannot tell what to say")
        picked = selection.get(tracker.domain.retrieval_actions[name]) or selection.get(ANY_INTENT)
        if not picked:
            return []
        try:
            utter_action = str(picked["response"]["utter_action"])
        except (KeyError, TypeError) as error:
            raise Crash(f"the message's response_selector has no response.utter_action for {name}") from error
        return (yield from self.utter(utter_action, tracker))

    def _built_in(self, name: str, tracker: Tracker) -> Steps[Events]:
        match name:
            case "action_session_start":
                return _session_start(tracker)
            case "action_restart":
                return [*(yield from self.utter("utter_restart", tracker)), Restarted()]
            case "action_default_fallback":
                return [*(yield from self.utter("utter_default", tracker)), UserUtteranceReverted()]
            case "action_back":
                said = yield from self.utter("utter_back", tracker)
                return [*said, UserUtteranceReverted(), UserUtteranceReverted()]
            case "action_deactivate_loop":
                return [ActiveLoop(name=None), SlotSet(name=REQUESTED_SLOT, value=None)]
            case "action_extract_slots":
                return (yield from extract_slots(tracker, self.call))
            case _ if name == TWO_STAGE:
                return (yield from run_two_stage(tracker, self.run))
            case _ if name == ASK_AFFIRMATION:
                return [ask_affirmation(tracker)]
            case _ if name == ASK_REPHRASE:
                return (yield from self.utter("utter_ask_rephrase", tracker))
            case _:
                # action_listen, action_unlikely_intent, and action_revert_fallback_events, which belongs to Rasa 2.
                return []


def _session_start(tracker: Tracker) -> Events:
    carried = tracker.carried_slots if tracker.domain.carry_over_slots else []
    return [SessionStarted(), *carried, ActionExecuted(name=ACTION_LISTEN)]


def _handoff(tracker: Tracker) -> HandoffRequested:
    slots = tracker.situation.slots
    contact, reason = slots.get(_CONTACT_SLOT), slots.get(_REASON_SLOT)
    return HandoffRequested(
        contact=None if contact is None else str(contact), reason=None if reason is None else str(reason)
    )


def is_waiting(name: str) -> bool:
    """Whether the bot waits for the customer after this action."""
    return name in (ACTION_LISTEN, ACTION_SESSION_START)
