"""What goes to a WeChat customer outside the reply to his own request: customer-service messages, and the rest of a
long answer.

Invariant: a place of the customer's budget is taken before a message is sent, and given back only when WeChat certainly
does not have it; what may have arrived is never sent again.
"""

from __future__ import annotations

from collections.abc import Sequence

from connectors.base import ChannelState, Delivered, DeliveryUnknown, RetryLater, SendResult
from connectors.wechat_api import WeChatApi
from connectors.wechat_budget import Budget
from connectors.wechat_errors import KEEP_S, NotSent, Refused, Unclear, send_result
from connectors.wechat_rendering import Shown, custom_message

KEPT = RetryLater(
    reason="WeChat takes no customer-service message for this customer now; the customer's next message collects it",
    after_s=KEEP_S,
)


class Desk:
    """`message/custom/send`, within the budget."""

    def __init__(self, api: WeChatApi, budget: Budget, state: ChannelState) -> None:
        self._api, self._budget, self._state = api, budget, state

    async def send(self, customer: str, messages: Sequence[Shown]) -> SendResult:
        """Send all of them, or none where the budget has not that many places left."""
        if not messages:
            return Delivered()  # nothing in it that WeChat can show
        kind = await self._budget.take(self._state, customer, len(messages))
        if kind is None:
            return KEPT
        for done, one in enumerate(messages):
            try:
                await self._api.call("/cgi-bin/message/custom/send", {"touser": customer, **custom_message(one)})
            except Unclear as error:
                return _partly(done, len(messages), error)
            except (Refused, NotSent) as error:
                if isinstance(error, Refused) and error.remedy == "keep":
                    await self._budget.empty(self._state, customer)
                else:
                    await self._budget.give_back(self._state, customer, kind, len(messages) - done)
                return _partly(done, len(messages), error)
        return Delivered()


def _partly(done: int, count: int, error: Refused | NotSent | Unclear) -> SendResult:
    if not done:
        return send_result(error)
    return DeliveryUnknown(reason=f"{done} of {count} parts were delivered, then: {error}")
