"""Pictures, voices, videos and files that WeChat's customers sent: an Official Account's, and 微信客服's.

A picture of an Official Account has an address that needs no token, so an account that may not call WeChat's interface
gets pictures too. It is the delivery's word, and in plaintext mode nobody signed it: it is fetched as any foreign one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.fetching import FetchFailed, FetchPolicy, FetchRefused, PlatformFile, fetch
from connectors.wechat_api import WeChatApi
from connectors.wechat_errors import NotSent, Refused, Unclear

_SCHEMES = frozenset({"http", "https"})  # WeChat still gives out both


async def fetch_media(api: WeChatApi | None, attachment: Mapping[str, Any], max_bytes: int) -> PlatformFile | None:
    """See `FileConnector.fetch_file`. `api`: None where the account has no credentials for it."""
    kind, media_id, address = (str(attachment.get(name) or "") for name in ("type", "media_id", "url"))
    if kind == "image" and address:
        try:
            return await _fetched(address, kind, max_bytes)
        except (FetchRefused, FetchFailed):
            if api is None or not media_id:
                raise
    if not media_id:
        return None
    if api is None:
        raise FetchRefused("files are fetched with the account's app_id and app_secret, which are not set")
    try:
        found = await api.media(media_id, max_bytes)
    except Refused as error:
        raise FetchRefused(f"WeChat refused it: {error}") from error
    except (NotSent, Unclear) as error:
        raise FetchFailed(str(error)) from error
    return await _fetched(found, kind, max_bytes) if isinstance(found, str) else found


async def _fetched(address: str, kind: str, max_bytes: int) -> PlatformFile:
    found = await fetch(address, FetchPolicy(schemes=_SCHEMES, max_bytes=max_bytes))
    return PlatformFile(name=kind, content=found.content)
