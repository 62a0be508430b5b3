"""Custom actions of labbot, a bot made to hit the tricky corners of Rasa's dialogue semantics.

Written for rasa-sdk; the traces in tests/traces were recorded from Rasa 3.6.21 with these actions.
"""

import datetime

from rasa_sdk import Action, ActionExecutionRejection
from rasa_sdk.events import (
    ActionExecuted,
    ActionReverted,
    ActiveLoop,
    AllSlotsReset,
    ConversationPaused,
    ConversationResumed,
    FollowupAction,
    ReminderScheduled,
    Restarted,
    SlotSet,
    UserUtteranceReverted,
    UserUttered,
)
from rasa_sdk.forms import FormValidationAction, ValidationAction


class ValidateTransferForm(FormValidationAction):
    def name(self):
        return "validate_transfer_form"

    async def required_slots(self, domain_slots, dispatcher, tracker, domain):
        slots = list(domain_slots)
        if tracker.get_slot("vip") and "priority" not in slots:
            slots.insert(-1, "priority")
        return slots

    def validate_amount(self, value, dispatcher, tracker, domain):
        try:
            amount = float(value)
        except (TypeError, ValueError):
            amount = -1
        if 1 <= amount <= 1000:
            return {"amount": amount}
        dispatcher.utter_message(response="utter_bad_amount")
        return {"amount": None}

    def validate_recipient(self, value, dispatcher, tracker, domain):
        if value == "nobody":
            dispatcher.utter_message(text="unknown recipient")
            return {"recipient": None}
        if value == "stop":
            return {"recipient": None, "requested_slot": None}
        return {"recipient": str(value).title()}

    def validate_confirm_transfer(self, value, dispatcher, tracker, domain):
        return {"confirm_transfer": value}


class ValidateSlotMappings(ValidationAction):
    def validate_username(self, value, dispatcher, tracker, domain):
        if value and len(value) < 3:
            dispatcher.utter_message(text="username too short")
            return {"username": None}
        return {"username": value}


class Named(Action):
    action_name = ""

    def name(self):
        return self.action_name


class AskMemo(Named):
    action_name = "action_ask_transfer_form_memo"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="any memo?", buttons=[{"title": "none", "payload": "/deny"}])
        return []


class ExtractUsername(Named):
    action_name = "action_extract_username"

    def run(self, dispatcher, tracker, domain):
        text = tracker.latest_message.get("text") or ""
        return [SlotSet("username", text[1:])] if text.startswith("@") else []


class SubmitTransfer(Named):
    action_name = "action_submit_transfer"

    def run(self, dispatcher, tracker, domain):
        is_confirmed = tracker.get_slot("confirm_transfer")
        dispatcher.utter_message(response="utter_transfer_done" if is_confirmed else "utter_cancelled")
        return [SlotSet(name, None) for name in ("recipient", "amount", "memo", "confirm_transfer", "priority")]


class Followup(Named):
    action_name = "action_followup"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="before followup")
        return [FollowupAction("action_noop")]


class Noop(Named):
    action_name = "action_noop"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="noop ran")
        return []


class Reset(Named):
    action_name = "action_reset"

    def run(self, dispatcher, tracker, domain):
        return [AllSlotsReset()]


class RevertUser(Named):
    action_name = "action_revert_user"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="reverting user")
        return [UserUtteranceReverted()]


class RevertAction(Named):
    action_name = "action_revert_action"

    def run(self, dispatcher, tracker, domain):
        return [ActionReverted()]


class Pause(Named):
    action_name = "action_pause"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="pausing")
        return [ConversationPaused()]


class Resume(Named):
    action_name = "action_resume"

    def run(self, dispatcher, tracker, domain):
        return [ConversationResumed()]


class Restart(Named):
    action_name = "action_do_restart"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="restart by action")
        return [Restarted()]


class Reject(Named):
    action_name = "action_reject"

    def run(self, dispatcher, tracker, domain):
        raise ActionExecutionRejection(self.name(), "no")


class Crash(Named):
    action_name = "action_crash"

    def run(self, dispatcher, tracker, domain):
        raise RuntimeError("boom")


class ActivateForm(Named):
    action_name = "action_activate_form"

    def run(self, dispatcher, tracker, domain):
        return [ActiveLoop("travel_form"), SlotSet("requested_slot", "to_city"), FollowupAction("travel_form")]


class SayForUser(Named):
    action_name = "action_user_uttered"

    def run(self, dispatcher, tracker, domain):
        tier = {"entity": "tier", "value": "silver"}
        parsed = {"intent": {"name": "say_tier", "confidence": 1.0}, "entities": [tier]}
        return [ActionExecuted("action_listen"), UserUttered("/inform", parsed)]


class Remind(Named):
    action_name = "action_remind"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="reminder set")
        due = datetime.datetime.now() + datetime.timedelta(seconds=2)
        return [
            ReminderScheduled("reminder_fired", trigger_date_time=due, name="r1", kill_on_user_message=False),
        ]


class OnReminder(Named):
    action_name = "action_on_reminder"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="reminder fired")
        return []


class SetSlots(Named):
    action_name = "action_set_slots"

    def run(self, dispatcher, tracker, domain):
        return [
            SlotSet("vip", True),
            SlotSet("blob", {"a": [1, {"b": None}]}),
            SlotSet("items", ["x", "y"]),
            SlotSet("tier", "platinum"),
            SlotSet("not_a_slot", 1),
        ]
