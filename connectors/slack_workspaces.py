"""Which token speaks in which workspace.

Invariant: a workspace's token is used in that workspace only.
"""

from __future__ import annotations

from connectors.slack_api import Refused


class Workspaces:
    """One workspace with one bot token."""

    def __init__(self, bot_token: str | None) -> None:
        self._bot_token = bot_token

    async def token(self, team: str) -> str:
        """Raises Refused where the app is not installed in that workspace."""
        if self._bot_token is None:
            raise Refused("token", "not_installed", f"(workspace {team})")
        return self._bot_token

    async def expire(self, team: str) -> None:
        """Slack says that the token is too old."""

    async def forget(self, team: str, enterprise: str | None, at: float) -> None:
        """The workspace removed the app."""
