"""Nothing that Rasa 3.6.21 ships is taken for somebody's own class, and what loses something says what to do."""

from __future__ import annotations

import pytest

from bot.assistant.components import COMPONENTS, Kind, look_up

# As rasa==3.6.21 registers them; its own names, so that a row taken out of the table is noticed.
SHIPPED: dict[Kind, str] = {
    "component": "MitieIntentClassifier FallbackClassifier LogisticRegressionClassifier SklearnIntentClassifier "
    "RegexMessageHandler DIETClassifier KeywordIntentClassifier WhitespaceTokenizer JiebaTokenizer MitieTokenizer "
    "SpacyTokenizer LexicalSyntacticFeaturizer RegexFeaturizer CountVectorsFeaturizer SpacyFeaturizer "
    "ConveRTFeaturizer MitieFeaturizer LanguageModelFeaturizer DucklingEntityExtractor CRFEntityExtractor "
    "EntitySynonymMapper MitieEntityExtractor SpacyEntityExtractor RegexEntityExtractor ResponseSelector MitieNLP "
    "SpacyNLP",
    "policy": "MemoizationPolicy AugmentedMemoizationPolicy UnexpecTEDIntentPolicy TEDPolicy RulePolicy",
    "channel": "cmdline facebook slack telegram mattermost twilio twilio_voice botframework rocketchat callback rest "
    "socketio webexteams hangouts rasa",
    "tracker_store": "InMemoryTrackerStore redis mongod sql dynamo",
    "lock_store": "in_memory redis",
    "event_broker": "pika sql file kafka",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in SHIPPED.items() for name in names.split()])
def test_everything_that_rasa_ships_is_in_the_table(kind: Kind, name: str) -> None:
    assert (kind, name) in COMPONENTS


def test_what_is_not_served_says_what_to_do() -> None:
    silent = [entry.name for entry in COMPONENTS.values() if entry.verdict == "unsupported" and not entry.remedy]
    assert silent == []


def test_a_class_of_rasa_may_stand_with_its_module() -> None:
    path = "rasa.nlu.classifiers.diet_classifier.DIETClassifier"
    assert look_up("component", path) is COMPONENTS["component", "DIETClassifier"]


def test_somebodys_own_class_is_unsupported_even_where_it_has_a_name_of_rasas() -> None:
    own = look_up("component", "addons.tagging.DIETClassifier")
    assert own.verdict == "unsupported"
    assert "own class" in own.what_happens
    assert own.finds_entities  # it may: what depends on it cannot be promised


def test_a_name_without_a_module_that_rasa_does_not_have_is_not_called_an_own_class() -> None:
    assert "Rasa 3.6 does not have it" in look_up("component", "DietClassfier").what_happens


def test_add_ons_go_by_what_they_do() -> None:
    assert look_up("component", "rasa_nlu_examples.featurizers.dense.BytePairFeaturizer").verdict == "mapped"
    assert look_up("component", "rasa_nlu_examples.meta.Printer").verdict == "ignored"
    assert look_up("component", "rasa_nlu_examples.extractors.FlashTextEntityExtractor").verdict == "unsupported"


def test_the_case_of_a_store_does_not_matter() -> None:
    assert look_up("tracker_store", "SQL") is COMPONENTS["tracker_store", "sql"]
