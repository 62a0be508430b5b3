"""A small shop that a test writes and a model learns within a second: four intents, no pretrained base."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from bot.assistant.loader import Assistant, load_assistant
from bot.storage import arrivals, inbox, predictions
from bot.storage.predictions import ReviewLimits
from bot.storage.records import PredictionRecord, TurnRecord
from connectors.base import InboundMessage

EXAMPLES = {
    "greet": (
        "hello", "hi there", "good morning", "hey you", "good evening", "hello everybody", "hi team", "hey hey",
        "greetings", "good day to you",
    ),
    "goodbye": (
        "bye", "goodbye now", "see you later", "have a nice day", "bye bye", "see you soon", "farewell then",
        "good night everyone", "talk to you later", "bye for today",
    ),
    "order_status": (
        "where is my order", "where is my parcel", "has my package shipped", "track my order please",
        "when will my order arrive", "my parcel is late", "order status please", "is my package on its way",
        "where does my delivery stay", "did you send my order",
    ),
    "return_item": (
        "i want to return this", "send it back please", "how do i return a lamp", "i want a refund",
        "can i exchange the rug", "money back please", "return label please", "the cushion goes back",
        "i would like to return my lamp", "refund for my order please",
    ),
}  # fmt: skip

HELD_OUT = {
    "greet": ("hello hello", "hi dear team", "a good morning to you", "hey there you", "good evening dear shop"),
    "goodbye": ("ok bye now", "see you next week", "have a nice evening", "goodbye then", "bye bye everyone"),
    "order_status": (
        "tell me where my order is", "my order is late", "has the parcel shipped yet", "track my package please",
        "when will the parcel arrive",
    ),
    "return_item": (
        "i want to return the rug", "a refund please", "how can i return it", "exchange my cushion please",
        "send the lamp back",
    ),
}  # fmt: skip


def nlu(examples: Mapping[str, tuple[str, ...]]) -> str:
    """Rasa's nlu file."""
    sections = (
        f"- intent: {name}\n  examples: |\n" + "".join(f"    - {t}\n" for t in texts)
        for name, texts in examples.items()
    )
    return "nlu:\n" + "".join(sections)


SMALL_SHOP = {
    "domain.yml": (
        "intents: [greet, goodbye, order_status, return_item]\n"
        "responses:\n"
        "  utter_greet: [{text: Hello!}]\n"
        "  utter_goodbye: [{text: Bye!}]\n"
        "  utter_order: [{text: On its way.}]\n"
        "  utter_return: [{text: Send it back.}]\n"
        "  utter_default: [{text: Pardon?}]\n"
    ),
    "data/nlu.yml": nlu(EXAMPLES),
    "data/rules.yml": (
        "rules:\n"
        "- rule: hello\n  steps: [{intent: greet}, {action: utter_greet}]\n"
        "- rule: bye\n  steps: [{intent: goodbye}, {action: utter_goodbye}]\n"
        "- rule: order\n  steps: [{intent: order_status}, {action: utter_order}]\n"
        "- rule: return\n  steps: [{intent: return_item}, {action: utter_return}]\n"
        "- rule: unsure\n  steps: [{intent: nlu_fallback}, {action: utter_default}]\n"
    ),
    "config.yml": (
        "assistant_id: small-shop\nlanguage: en\n"
        "pipeline:\n- name: FallbackClassifier\n  threshold: 0.3\n  ambiguity_threshold: 0.02\n"
        "policies:\n- name: RulePolicy\n"
    ),
    "kefu.yml": "base: ngram\n",
    # Too few for a hold-out, so that tests see the intents alone; without the file the starter's would be learned.
    "sentiment/en.csv": (
        "text,label\n"
        "this is awful,negative\nso angry with you,negative\nworst shop ever,negative\n"
        "it is blue,neutral\nthe lamp is on the table,neutral\norder of monday,neutral\n"
        "i love it,positive\ngreat service,positive\nwonderful lamp,positive\n"
    ),
}
TESTED_SHOP = SMALL_SHOP | {"tests/nlu_en.yml": nlu(HELD_OUT)}


def write_assistant(folder: Path, files: Mapping[str, str]) -> Assistant:
    """Write the files of an assistant into `folder` and load it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return load_assistant(folder, {})


def log_messages(conn: Connection, assistant_id: str, *messages: PredictionRecord) -> list[int]:
    """Log predictions as the worker does, one conversation each; returns their ids, in order."""
    now = datetime.now(UTC)
    for record in messages:
        number = secrets.token_hex(6)
        sender = f"sender-{number}"
        message = InboundMessage(
            channel="rest",
            account="",
            external_id=number,
            customer=sender,
            sender_id=sender,
            text=record.text,
            received_at=now,
        )
        arrivals.accept(conn, assistant_id, [message], [], now)
        [claim] = inbox.claim(conn, assistant_id, "test", now, 60.0, 1)
        inbox.finish(conn, claim, TurnRecord(events=[], expected_event_seq=claim.event_seq, prediction=record), now)
    limits = ReviewLimits(fallback=1000, uncertain=1000, random=0)
    items = predictions.for_review(conn, assistant_id, datetime.fromtimestamp(0, UTC), limits, 0)
    by_text = {item.text: item.prediction_id for item in items}
    return [by_text[record.text] for record in messages]


def prediction(
    text: str, *, intent: str = "greet", confidence: float = 0.9, fallback: bool = False
) -> PredictionRecord:
    """What a model might have read in `text`; the two best lie `2 * confidence - 1` apart."""
    return PredictionRecord(
        text=text,
        ranking=[
            {"name": intent, "confidence": confidence},
            {"name": "goodbye", "confidence": 1 - confidence},
            *({"name": f"other_{n}", "confidence": 0.0} for n in range(6)),
        ],
        confidence=confidence,
        out_of_scope_score=0.0,
        is_out_of_scope=False,
        fallback=fallback,
        model_version="20261123T164000-ab12cd34",
        latency_ms=1.0,
        sentiment="neutral",
        language="en",
    )
