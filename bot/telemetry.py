"""Logs and counters. One JSON event a line with a stable dotted name; never a message's text above DEBUG."""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

turn_id: ContextVar[str | None] = ContextVar("turn_id", default=None)


_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


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
            line["error"] = self.formatException(record.exc_info)
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
