"""What channels over HTTP have in common when they send: what a failed call means, and where a message is taken up.

Invariant: a part that the platform took is not sent again because a later part of the same message was refused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx

from connectors.base import (
    BadRequest,
    ChannelState,
    Delivered,
    DeliveryUnknown,
    RetryLater,
    SendResult,
    storable_text,
)
from connectors.inbound import parse_json_object

Call = TypeVar("Call")


async def send_parts(
    calls: Sequence[Call], send_one: Callable[[Call], Awaitable[SendResult]], state: ChannelState, key: str
) -> SendResult:
    """Send one after the other until one is not delivered; the message's next try begins with that one.

    Args:
        key: names the message in the channel's state, as "telegram/sent/17".
    Returns:
        What became of the last call that was made; Delivered where there is nothing to send.
    """
    done = int(await state.get(key) or 0) if len(calls) > 1 else 0
    if done:
        await state.take(key)
    result: SendResult = Delivered()
    for number, call in enumerate(calls[done:], done):
        result = await send_one(call)
        if not isinstance(result, Delivered):
            if number:
                await state.compare_and_set(key, None, str(number))
            break
    return result


async def post_json(
    http: httpx.AsyncClient, url: str, payload: Mapping[str, Any]
) -> dict[str, Any] | RetryLater | DeliveryUnknown:
    """The JSON object that a platform answers, whatever its status.

    Without a connection nothing was sent; broken off later, or answered by something else, nobody knows. The reason
    names the kind of error only: its text may hold an address with a token in it.
    """
    # What a bot says may hold half an emoji, which JSON can carry and UTF-8 cannot.
    content = storable_text(json.dumps(payload, ensure_ascii=False)).encode()
    try:
        answer = await http.post(url, content=content, headers={"Content-Type": "application/json"})
        return parse_json_object(answer.content)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        return RetryLater(reason=f"no connection: {type(error).__name__}")
    except httpx.HTTPError as error:
        return DeliveryUnknown(reason=f"broken off: {type(error).__name__}")
    except BadRequest:
        return DeliveryUnknown(reason=f"HTTP {answer.status_code} without a JSON object")
