"""The tests' own Slack is spoken to by slack_sdk's real clients: what it answers is Slack's protocol, not ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.socket_mode.websockets import SocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

from tests import slack_people as people
from tests.slack_server import APP_TOKEN, BOT_TOKEN, CHANNEL, slack, too_many


async def test_slack_s_own_client_posts_and_reads() -> None:
    async with slack() as (fake, api_url):
        client = AsyncWebClient(BOT_TOKEN, base_url=api_url)
        metadata = {"event_type": "kefu", "event_payload": {"outbox_id": 1}}
        for text in ("one", "two", "three"):
            await client.chat_postMessage(channel=CHANNEL, text=text, thread_ts="1.1", metadata=metadata)
        found: list[Any] = []
        # Its paging, over our cursors.
        async for page in await client.conversations_replies(channel=CHANNEL, ts="1.1", include_all_metadata=True):
            found += page["messages"]
        assert [(message["text"], message["metadata"]) for message in found] == [
            (text, metadata) for text in ("one", "two", "three")
        ]
        fake.fail("chat.postMessage", too_many(7))
        with pytest.raises(SlackApiError) as refused:
            await client.chat_postMessage(channel=CHANNEL, text="four")
        assert refused.value.response.headers["Retry-After"] == "7"


async def test_slack_s_own_socket_mode_client_hears_acknowledges_and_reconnects() -> None:
    heard: asyncio.Queue[SocketModeRequest] = asyncio.Queue()

    async def listen(client: Any, request: SocketModeRequest) -> None:
        await heard.put(request)
        await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, {"text": "done"}))

    async with slack() as (fake, api_url):
        client: Any = SocketModeClient(
            APP_TOKEN, web_client=AsyncWebClient(base_url=api_url), auto_reconnect_enabled=True
        )
        client.socket_mode_request_listeners.append(listen)
        await client.connect()
        await fake.connected()
        envelope = await fake.deliver("events_api", people.event(people.direct("hello")))
        assert await fake.acked(envelope) == {"text": "done"}
        request = await heard.get()
        assert (request.type, request.payload["event"]["text"]) == ("events_api", "hello")
        await client.disconnect()
        await client.close()
