"""What the routes of Rasa's HTTP API are given of the running platform. Values only; `bot.app` fills it in.

Invariant: `bot` is called for each request, because `kefu serve --reload` replaces the assistant while it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.rasa.http_access import Access
from bot.rasa.http_training import Trainer
from bot.storage.database import Database
from bot.turns import Bot
from connectors.base import Ports
from models.base import Understander
from models.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Api:
    """Attributes: `deadline_s` is how long a request waits for the turn it asked for."""

    bot: Callable[[], Bot]
    db: Database
    ports: Ports
    understander: Understander
    registry: Registry
    trainer: Trainer
    access: Access
    deadline_s: float = 30.0
