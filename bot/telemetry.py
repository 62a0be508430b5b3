"""Logs and counters. One JSON event a line with a stable dotted name; never a message's text above DEBUG."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bot.errors import KefuError
from connectors.base import ConnectorError
from models.base import ModelError

turn_id: ContextVar[str | None] = ContextVar("turn_id", default=None)


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


def describe_error(error: BaseException | None) -> str:
    """Type and places, innermost last; the message only of our own errors: others may carry what a customer typed."""
    if error is None:
        return "unknown"
    said = f": {error}" if isinstance(error, KefuError | ModelError | ConnectorError | OSError) else ""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
    return f"{type(error).__name__}{said} [{places}]"


class JsonLines(logging.Formatter):
    """{"time", "level", "event", "turn", …what was passed as `extra`}."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if turn := turn_id.get():
            line["turn"] = turn
        line.update({name: value for name, value in vars(record).items() if name not in _PLAIN})
        if record.exc_info:
            line["error"] = describe_error(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str = "INFO") -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "httpx", "alembic", "watchfiles", "rasa_sdk"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Metrics:
    """Prometheus counters of one process; /metrics prints them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handoffs = Counter("kefu_handoffs", "Customers who asked for a person.", registry=self.registry)
        self.turns = Counter("kefu_turns", "Turns finished, by outcome.", ["outcome"], registry=self.registry)
        self.turn_seconds = Histogram(
            "kefu_turn_seconds",
            "Seconds from accepted to committed.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 10, 60),
            registry=self.registry,
        )
        self.understand_seconds = Histogram(
            "kefu_understand_seconds",
            "Seconds a text waited for its understanding, queueing included.",
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 2),
            registry=self.registry,
        )
        self.sends = Counter(
            "kefu_sends", "Deliveries to push channels, by result.", ["channel", "result"], registry=self.registry
        )
        self.waiting = Gauge("kefu_waiting", "Messages accepted and not yet answered.", registry=self.registry)
        self.generation = Gauge(
            "kefu_generation",
            "What the generator was asked since the start: requests, failures, prompt_tokens, completion_tokens, cost.",
            ["what"],
            registry=self.registry,
        )
