"""An assistant that answers from documents, as files, and a gate that counts a question's words: for tests."""

from __future__ import annotations

from bot.answers.knowledge import Gate

SURE = Gate(weights=tuple(8.0 * (place == 5) for place in range(14)), bias=-3.0, threshold=0.5, worth_showing=0.1)
"""A question whose words are in a passage is answered; where some are, the passage is offered."""
FILES = {
    "config.yml": "language: en\npolicies: [{name: RulePolicy}]\n",
    "kefu.yml": "answers: {intent: ask_knowledge, instead_of: [shipping]}\n",
    "domain.yml": """
version: "3.1"
intents: [greet, shipping, order, inform, ask_knowledge, nlu_fallback, out_of_scope]
entities: [passage]
slots:
  number:
    type: text
    influence_conversation: false
    mappings:
    - {type: from_text, not_intent: ask_knowledge, conditions: [{active_loop: order_form, requested_slot: number}]}
forms: {order_form: {required_slots: [number]}}
responses:
  utter_greet: [{text: "Hello!"}]
  utter_shipping: [{text: "Delivery in Germany costs five euros."}]
  utter_ask_number: [{text: "Which number?"}]
  utter_thanks: [{text: "Thank you."}]
  utter_ask_rephrase: [{text: "Please say it otherwise."}]
  utter_no_answer: [{text: "Not in our pages."}]
""",
    "data/rules.yml": """
version: "3.1"
rules:
- rule: greet
  steps: [{intent: greet}, {action: utter_greet}]
- rule: shipping
  steps: [{intent: shipping}, {action: utter_shipping}]
- rule: knowledge
  steps: [{intent: ask_knowledge}, {action: action_answer}]
- rule: fallback
  steps: [{intent: nlu_fallback}, {action: utter_ask_rephrase}]
- rule: scope
  steps: [{intent: out_of_scope}, {action: utter_ask_rephrase}]
- rule: order
  steps: [{intent: order}, {action: order_form}, {active_loop: order_form}]
- rule: ordered
  condition: [{active_loop: order_form}]
  steps: [{action: order_form}, {active_loop: null}, {action: utter_thanks}]
""",
    "data/nlu.yml": """
version: "3.1"
nlu:
- intent: greet
  examples: "- hello\\n- hi\\n"
- intent: shipping
  examples: "- what is delivery\\n- delivery?\\n"
- intent: order
  examples: "- my order\\n- order\\n"
- intent: inform
  examples: "- A-1\\n- B-2\\n"
- intent: out_of_scope
  examples: "- sing\\n- dance\\n"
""",
}
