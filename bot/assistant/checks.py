"""Do the files agree with each other: every name used in a rule, story, form, mapping or response must exist.

Contradictions between rules and stories are found where they are compiled, in `bot.dialogue.contradictions`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from bot.assistant.catalogue import read_files
from bot.assistant.config import Policy
from bot.assistant.domain import BUILT_IN_SLOTS, DEFAULT_INTENTS, Domain, Slot
from bot.assistant.source import Problems
from bot.assistant.stories import ActionStep, CheckpointStep, LoopStep, OrStep, SlotStep, Step, UserStep
from bot.assistant.unserved import check_pipeline
from bot.errors import Where

if TYPE_CHECKING:
    from bot.assistant.loader import Assistant

TWO_STAGE_LOOP = "action_two_stage_fallback"
_HONOURED_POLICIES = frozenset(
    {"MemoizationPolicy", "AugmentedMemoizationPolicy", "RulePolicy", "TEDPolicy", "UnexpecTEDIntentPolicy"}
)
_PAYLOAD_INTENT = re.compile(r"^/([^{@\s]+)")


def check_references(assistant: Assistant, nlu_intents: Mapping[str, Where], problems: Problems) -> None:
    """Report every name that leads nowhere, with the nearest existing one as a hint."""
    domain = assistant.domain
    _check_names(assistant, problems)
    for rule in assistant.rules:
        _check_steps((*rule.conditions, *rule.steps), domain, f"rule '{rule.name}'", problems)
    for story in assistant.stories:
        _check_steps(story.steps, domain, f"story '{story.name}'", problems)
    _check_forms(domain, problems)
    for slot in domain.slots.values():
        _check_mappings(slot, domain, problems)
    _check_responses(domain, problems)
    _check_actions(assistant, problems)
    _check_nlu(domain, nlu_intents, {*DEFAULT_INTENTS, *_given_without_examples(assistant)}, problems)
    _check_retrieval(domain, nlu_intents, problems)
    _check_policies(assistant, problems)
    check_pipeline(assistant, problems)
    _check_answers(assistant, problems)
    _check_suggestions(assistant, problems)
    _check_safety(assistant, problems)
    for entity in assistant.config.values:
        if entity not in domain.entities:
            hint = _nearest(entity, domain.entities) or "Add it under `entities:` in the domain."
            problems.warning(
                Where(file=assistant.root / "kefu.yml"), f"`values` fills the unknown entity '{entity}'", hint
            )


def _check_answers(assistant: Assistant, problems: Problems) -> None:
    """`answers:` of kefu.yml: its intents exist, and there are documents."""
    answers, known = assistant.config.answers, assistant.domain.intents
    if answers is None:
        return
    where = Where(file=assistant.root / "kefu.yml")
    if answers.intent not in known:
        hint = "Add it under `intents:` in the domain, and a rule: that intent, then action_answer."
        problems.error(where, f"`answers` gives messages the unknown intent '{answers.intent}'", hint)
    for name in sorted((answers.instead_of | answers.before) - known.keys()):
        hint = _nearest(name, known) or "Add it under `intents:` in the domain, or leave it out."
        problems.warning(where, f"`answers` stands instead of the unknown intent '{name}'", hint)
    if not (assistant.root / "knowledge").is_dir():
        hint = "Put Markdown, HTML, PDF, Word or CSV there, then run `kefu knowledge sync`."
        problems.warning(where, "there is no folder `knowledge/` to answer from", hint)


def _check_suggestions(assistant: Assistant, problems: Problems) -> None:
    """`suggestions:` of kefu.yml: its files can be read, and its buttons say something that is understood."""
    config, domain = assistant.config.suggestions, assistant.domain
    if config is None:
        return
    where = Where(file=assistant.root / "kefu.yml")
    read_files(assistant.root, config, problems)
    if config.intent is None:
        return
    for kind, name, known in (
        ("intent", config.intent, domain.intents),
        ("entity", config.entity, domain.entities),
    ):
        if name not in known:
            hint = _nearest(name, known) or "Add it to the domain."
            problems.error(where, f"the buttons of `suggestions` send the unknown {kind} '{name}'", hint)


def _check_safety(assistant: Assistant, problems: Problems) -> None:
    """`safety:` of kefu.yml: what it names exists."""
    known = assistant.domain.intents
    for name in sorted(assistant.config.safety.named - known.keys()):
        hint = _nearest(name, known) or "Add it under `intents:` in the domain, and a rule that says what follows."
        where = Where(file=assistant.root / "kefu.yml")
        problems.error(where, f"`safety` gives messages the unknown intent '{name}'", hint)


def _given_without_examples(assistant: Assistant) -> list[str]:
    """Intents that messages get by other means than by what they say."""
    answers = assistant.config.answers
    return [*assistant.config.safety.intents.values(), *([answers.intent] if answers else [])]


def _nearest(name: str, known: Iterable[str]) -> str | None:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"Did you mean '{close[0]}'?" if close else None


def _check_names(assistant: Assistant, problems: Problems) -> None:
    for kind, items in (("rule", assistant.rules), ("story", assistant.stories)):
        seen: dict[str, Where] = {}
        for item in items:
            if item.name in seen:
                problems.error(item.where, f"the {kind} '{item.name}' exists twice", f"Also at {seen[item.name]}.")
            seen.setdefault(item.name, item.where)


def _check_steps(steps: Iterable[Step], domain: Domain, place: str, problems: Problems) -> None:
    for step in steps:
        match step:
            case UserStep():
                _check_user(step, domain, place, problems)
            case ActionStep(name=str(name)):
                _check_action(name, step.where, domain, place, problems)
            case SlotStep():
                _check_slot(step.name, step.where, domain, place, problems)
            case LoopStep(name=str(name)) if name not in domain.forms and name != TWO_STAGE_LOOP:
                hint = _nearest(name, domain.forms) or "Define it under `forms:`."
                problems.error(step.where, f"{place} names the unknown form '{name}'", hint)
            case OrStep():
                _check_steps(step.alternatives, domain, place, problems)
            case CheckpointStep():
                for slot, _ in step.conditions:
                    _check_slot(slot, step.where, domain, place, problems)
            case _:
                pass


def _check_user(step: UserStep, domain: Domain, place: str, problems: Problems) -> None:
    if step.intent is not None and step.intent not in domain.intents:
        hint = _nearest(step.intent, domain.intents) or "Add it under `intents:` in the domain."
        problems.error(step.where, f"{place} uses the unknown intent '{step.intent}'", hint)
    for entity in step.entities:
        if entity["entity"] not in domain.entities:
            hint = _nearest(entity["entity"], domain.entities) or "Add it under `entities:` in the domain."
            problems.warning(step.where, f"{place} uses the unknown entity '{entity['entity']}'", hint)


def _check_action(name: str, where: Where, domain: Domain, place: str, problems: Problems) -> None:
    if name in domain.action_names:
        return
    if any(response.startswith(f"{name}/") for response in domain.responses):
        intent = name.removeprefix("utter_")
        hint = f"Add examples: `- intent: {intent}/<name>` in the training data for each `{name}/<name>`."
        problems.error(where, f"{place} says '{name}', but no message selects among its responses", hint)
    elif name.startswith("utter_"):
        hint = _nearest(name, domain.responses) or f"Add `{name}:` under `responses:`."
        problems.error(where, f"{place} says '{name}', but there is no such response", hint)
    else:
        hint = _nearest(name, domain.action_names) or "Add it under `actions:` in the domain."
        problems.error(where, f"{place} runs the unknown action '{name}'", hint)


def _check_slot(name: str, where: Where, domain: Domain, place: str, problems: Problems) -> None:
    if name not in domain.slots and name not in BUILT_IN_SLOTS:
        hint = _nearest(name, domain.slots) or "Add it under `slots:` in the domain."
        problems.error(where, f"{place} names the unknown slot '{name}'", hint)


def _check_forms(domain: Domain, problems: Problems) -> None:
    for form in domain.forms.values():
        place = f"form '{form.name}'"
        has_validation = f"validate_{form.name}" in domain.action_names
        if not form.required_slots and not has_validation:
            problems.warning(form.where, f"the {place} requires no slots", "It ends as soon as it starts.")
        for slot in form.required_slots:
            if slot not in domain.slots:
                _check_slot(slot, form.where, domain, place, problems)
                continue
            asks = ask_names(form.name, slot)
            if any(name in domain.action_names for name in asks):
                continue
            message = f"the {place} never asks for '{slot}'"
            hint = f"Add the response `{asks[-1]}`, or one of {', '.join(asks[:-1])}."
            if has_validation:
                problems.warning(form.where, message, hint)
            else:
                problems.error(form.where, message, hint)
        for intent in form.ignored_intents:
            if intent not in domain.intents:
                message = f"the {place} ignores the unknown intent '{intent}'"
                problems.error(form.where, message, _nearest(intent, domain.intents))


def ask_names(form: str, slot: str) -> tuple[str, str, str, str]:
    """The actions that may ask for a slot, in the order in which they are looked up."""
    return (f"action_ask_{form}_{slot}", f"utter_ask_{form}_{slot}", f"action_ask_{slot}", f"utter_ask_{slot}")


def _check_mappings(slot: Slot, domain: Domain, problems: Problems) -> None:
    for mapping in slot.mappings:
        place = f"slot '{slot.name}'"
        if mapping.type == "from_entity" and mapping.entity not in domain.entities:
            hint = _nearest(mapping.entity or "", domain.entities) or "Add it under `entities:`."
            problems.warning(mapping.where, f"the {place} maps the unknown entity '{mapping.entity}'", hint)
        for intent in (*mapping.intents, *mapping.not_intents):
            if intent not in domain.intents:
                hint = _nearest(intent, domain.intents) or "Add it under `intents:`."
                problems.warning(mapping.where, f"the {place} maps the unknown intent '{intent}'", hint)
        for condition in mapping.conditions:
            loop = condition.active_loop
            if loop is not None and loop not in domain.forms and loop != TWO_STAGE_LOOP:
                message = f"a mapping of the {place} names the unknown form '{loop}'"
                problems.error(mapping.where, message, _nearest(loop, domain.forms))
        if mapping.action and mapping.action not in domain.custom_actions:
            hint = _nearest(mapping.action, domain.custom_actions) or "Add it under `actions:`."
            problems.error(mapping.where, f"the {place} is filled by the unknown action '{mapping.action}'", hint)


def _check_responses(domain: Domain, problems: Problems) -> None:
    for name, variations in domain.responses.items():
        for variation in variations:
            for slot, _ in variation.conditions:
                _check_slot(slot, variation.where, domain, f"response '{name}'", problems)
            for key in ("buttons", "quick_replies"):
                for button in variation.body.get(key) or ():
                    payload = button.get("payload") if isinstance(button, dict) else None
                    found = _PAYLOAD_INTENT.match(payload) if isinstance(payload, str) else None
                    if found and found[1] not in domain.intents:
                        hint = _nearest(found[1], domain.intents)
                        problems.warning(
                            variation.where, f"a button of '{name}' sends the unknown intent '{found[1]}'", hint
                        )


def _check_actions(assistant: Assistant, problems: Problems) -> None:
    domain = assistant.domain
    # An nlg server may word what the domain does not.
    report = problems.warning if assistant.nlg else problems.error
    for name, where in domain.custom_actions.items():
        if name.startswith("utter_") and name not in domain.responses and name not in domain.retrieval_actions:
            hint = _nearest(name, domain.responses) or f"Add `{name}:` under `responses:`."
            report(where, f"the action '{name}' has no response", hint)


def _check_nlu(
    domain: Domain, nlu_intents: Mapping[str, Where], given_otherwise: Collection[str], problems: Problems
) -> None:
    """`given_otherwise`: intents that need no examples."""
    bases = {intent.split("/")[0] for intent in nlu_intents}
    for intent, where in nlu_intents.items():
        if intent.split("/")[0] not in domain.intents:
            hint = _nearest(intent, domain.intents) or "Add it under `intents:` in the domain."
            problems.warning(where, f"examples for the intent '{intent}', which the domain does not list", hint)
    for name, listed in domain.intents.items():
        if nlu_intents and name not in bases and name not in given_otherwise:
            hint = "Only buttons can send it. Add examples to let customers say it."
            problems.warning(listed.where, f"the intent '{name}' has no examples", hint)


def _check_retrieval(domain: Domain, nlu_intents: Mapping[str, Where], problems: Problems) -> None:
    """Each `faq/ask_hours` of the training data has its `utter_faq/ask_hours`, and each such response examples."""
    for intent, where in nlu_intents.items():
        response = f"utter_{intent}"
        if "/" in intent and response not in domain.responses:
            hint = _nearest(response, domain.responses) or f"Add `{response}:` under `responses:`."
            problems.error(where, f"examples for '{intent}', but there is no response '{response}'", hint)
        elif f"utter_{intent}" in domain.retrieval_actions:
            hint = f"Only examples of `{intent}/<name>` teach which response fits."
            problems.warning(where, f"examples for the retrieval intent '{intent}' without a name after a slash", hint)
    for response, variations in domain.responses.items():
        base, slash, _ = response.partition("/")
        if slash and base in domain.retrieval_actions and response.removeprefix("utter_") not in nlu_intents:
            place = variations[0].where if variations else None
            hint = f"Add examples: `- intent: {response.removeprefix('utter_')}` in the training data."
            problems.warning(place, f"no message selects the response '{response}'", hint)


def _check_policies(assistant: Assistant, problems: Problems) -> None:
    for policy in assistant.policies:
        if policy.name not in _HONOURED_POLICIES:
            problems.warning(policy.where, f"the policy {policy.name} is unknown", "It is ignored.")
        elif policy.name == "RulePolicy":
            _check_fallback(policy, assistant.domain, problems)


def _check_fallback(policy: Policy, domain: Domain, problems: Problems) -> None:
    action = policy.settings.get("core_fallback_action_name") or "action_default_fallback"
    if action not in domain.action_names:
        hint = _nearest(str(action), domain.action_names)
        problems.error(policy.where, f"core_fallback_action_name '{action}' is not an action of the domain", hint)
    elif action == "action_default_fallback" and "utter_default" not in domain.responses:
        hint = "Add `utter_default:` under `responses:`; without it customers meet silence."
        problems.warning(policy.where, "nothing is said when no rule and no story fits", hint)
