"""Files that people posted in Slack, fetched with the workspace's own token (scope files:read).

Invariant: the token goes to Slack's hosts and to no other; a file that lies elsewhere is not fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from connectors.base import InboundMessage
from connectors.fetching import FetchFailed, FetchPolicy, FetchRefused, PlatformFile, fetch
from connectors.files import FileTooLarge, size_text
from connectors.slack_api import Refused, SlackApi, SlackCallFailed
from connectors.slack_workspaces import Workspaces


class SlackFiles:
    """Downloads. `api_url` says which hosts are Slack's: the one it names, and those below it.

    Where there is a proxy, nothing else leads out, and a name is resolved there: nothing is fetched.
    """

    def __init__(self, api_url: str, api: SlackApi, workspaces: Workspaces, *, has_proxy: bool) -> None:
        self._has_proxy = has_proxy
        self._base, self._api, self._workspaces = httpx.URL(api_url), api, workspaces

    async def fetch(self, message: InboundMessage, attachment: Mapping[str, Any], max_bytes: int) -> PlatformFile:
        """See `FileConnector.fetch_file`."""
        if self._has_proxy:
            raise FetchRefused("files are not fetched through a proxy")
        try:
            token = await self._workspaces.token(message.account)
            file = attachment if attachment.get("url") else await self._looked_up(token, attachment)
        except Refused as error:
            raise FetchRefused(str(error)) from error
        except SlackCallFailed as error:
            raise FetchFailed(str(error)) from error
        if isinstance(size := file.get("size"), int) and size > max_bytes:
            raise FileTooLarge(f"the file is larger than {size_text(max_bytes)}")
        url = httpx.URL(str(file["url"]))
        if not self._is_slacks(url):
            raise FetchRefused("the file does not lie in Slack")
        found = await fetch(str(url), self._policy(url, max_bytes), {"Authorization": f"Bearer {token}"})
        if found.media_type == "text/html" and file.get("media_type") != "text/html":
            raise FetchRefused("Slack gave a page instead of the file: the app lacks the scope files:read")
        return PlatformFile(name=str(file.get("name") or "file"), content=found.content)

    async def _looked_up(self, token: str, attachment: Mapping[str, Any]) -> Mapping[str, Any]:
        """Of a file that another organisation shared, the event tells the id alone."""
        answer = await self._api.call("files.info", token, file=attachment.get("id"))
        told = answer.get("file")
        file: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        if not file.get("url_private"):
            raise Refused("files.info", "no_address")
        return {
            "url": file["url_private"],
            "size": file.get("size"),
            "media_type": file.get("mimetype"),
            "name": attachment.get("name") or file.get("name"),
        }

    def _is_slacks(self, url: httpx.URL) -> bool:
        return url.host == self._base.host or url.host.endswith(f".{self._base.host}")

    def _policy(self, url: httpx.URL, max_bytes: int) -> FetchPolicy:
        """Who runs Slack at an address of his own (a test, a gateway) may have it inside his network, there alone."""
        if url.host != self._base.host or self._base.host == "slack.com":
            return FetchPolicy(max_bytes=max_bytes)
        schemes = frozenset({"https", self._base.scheme})
        return FetchPolicy(schemes=schemes, max_bytes=max_bytes, max_redirects=0, allows=lambda _: True)
