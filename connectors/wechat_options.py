"""What `wechat:` in credentials.yml and the WECHAT_* variables say, checked once.

Invariant: an options value is usable as it stands; what is missing or contradicts itself is a ValueError that says
what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.wechat_crypto import MessageCipher

Mode = Literal["plaintext", "compatible", "safe"]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


_Kind = TypeVar("_Kind", bound=_Options)


class BudgetOptions(_Options):
    """How many customer-service messages WeChat lets pass: after a message, and after a tap on the menu, a scan or a
    subscription."""

    after_message: int = Field(default=5, ge=0)
    after_message_h: float = Field(default=48.0, gt=0)
    after_event: int = Field(default=3, ge=0)
    after_event_min: float = Field(default=1.0, gt=0)


class WeChatOptions(_Options):
    """An Official Account.

    Attributes:
        mode: how WeChat sends messages. "safe" refuses what is not encrypted; "compatible" takes both.
        customer_messages: whether the account may send customer-service messages; without them a late answer waits for
            the customer's next message.
        transfer_customer_service: where the bot is silent (a person has taken over), pass the message to WeChat's desk.
        menu_messages: buttons as WeChat's menu messages where they are pushed, else as numbered text.
        language: of customers who have not written a word yet.
        texts: what the bot reads for a kind of message or event ("subscribe": "/greet"); "" says nothing to the bot.
        later_text: the last try's answer where the bot needs longer; `{tap}` is a link that fetches the answer.
        more_text: ends a passive answer that has more to come.
        public_url: what relative image addresses are relative to.
        try_deadline_s, tries, hang_up_s: WeChat closes a try after 5 s and makes three.
    """

    token: str = Field(min_length=1, repr=False)
    app_id: str = ""
    app_secret: str = Field(default="", repr=False)
    aes_key: str = Field(default="", repr=False)
    mode: Mode = "plaintext"
    customer_messages: bool = True
    transfer_customer_service: bool = False
    menu_messages: bool = True
    language: str | None = None
    texts: Mapping[str, str] = Field(default_factory=dict)
    later_text: str = "答案还在准备，{tap}，或稍后再发一条消息。\nThe answer is on its way: tap above, or write again."
    tap_text: str = "点这里查看"
    more_text: str = "（未完，{tap}）"
    more_tap_text: str = "点这里看下文"
    menu: Mapping[str, Any] | None = None
    budget: BudgetOptions = Field(default_factory=BudgetOptions)
    public_url: str = ""
    replay_window_s: float = Field(default=900.0, ge=0)
    api_url: str = "https://api.weixin.qq.com"
    try_deadline_s: float = Field(default=4.5, gt=0)
    tries: int = Field(default=3, ge=1)
    hang_up_s: float = Field(default=1.5, ge=0)

    @property
    def hold_s(self) -> float:
        """Until the last try is over no answer is pushed."""
        return self.try_deadline_s * self.tries + 1.0

    def cipher(self) -> MessageCipher | None:
        return MessageCipher(self.aes_key, self.app_id) if self.aes_key else None

    @classmethod
    def of(cls, credentials: object, variables: Mapping[str, str]) -> Self:
        """Raises ValueError with what to do."""
        given = _given("wechat", credentials)
        for name in ("token", "app_id", "app_secret", "aes_key"):
            _take(given, name, variables.get(f"WECHAT_{name.upper()}"))
        if given.get("aes_key"):
            given.setdefault("mode", "safe")
        options = _checked(cls, "wechat", given)
        options._check()
        return options

    def _check(self) -> None:
        if self.mode != "plaintext" and not self.aes_key:
            raise ValueError(
                f"wechat: mode {self.mode} needs the EncodingAESKey; set aes_key or WECHAT_AES_KEY to the key under "
                "设置与开发 → 基本配置 → 服务器配置 on mp.weixin.qq.com"
            )
        if self.aes_key and not self.app_id:
            raise ValueError("wechat: encrypted messages carry the AppID; set app_id or WECHAT_APP_ID")
        if self.customer_messages and not (self.app_id and self.app_secret):
            raise ValueError(
                "wechat: customer-service messages need app_id and app_secret (WECHAT_APP_ID, WECHAT_APP_SECRET); an "
                "account that may not send them says `customer_messages: false`"
            )
        try:
            self.cipher()
        except ValueError as error:
            raise ValueError(f"wechat: aes_key: {error}") from error


class WeChatKfOptions(_Options):
    """微信客服, reached through WeCom's API."""

    corp_id: str = Field(min_length=1)
    secret: str = Field(min_length=1, repr=False)
    token: str = Field(min_length=1, repr=False)
    aes_key: str = Field(min_length=1, repr=False)
    language: str | None = None
    texts: Mapping[str, str] = Field(default_factory=dict)
    menu_messages: bool = True
    public_url: str = ""
    replay_window_s: float = Field(default=900.0, ge=0)
    api_url: str = "https://qyapi.weixin.qq.com"
    poll_s: float = Field(default=5.0, gt=0)

    def cipher(self) -> MessageCipher:
        return MessageCipher(self.aes_key, self.corp_id)

    @classmethod
    def of(cls, credentials: object, variables: Mapping[str, str]) -> Self:
        """Raises ValueError with what to do."""
        given = _given("wechat_kf", credentials)
        for name in ("corp_id", "secret", "token", "aes_key"):
            _take(given, name, variables.get(f"WECHAT_KF_{name.upper()}"))
        options = _checked(cls, "wechat_kf", given)
        try:
            options.cipher()
        except ValueError as error:
            raise ValueError(f"wechat_kf: aes_key: {error}") from error
        return options


def _given(section: str, credentials: object) -> dict[str, Any]:
    if credentials is None:
        return {}
    if not isinstance(credentials, Mapping):
        raise ValueError(f"{section}: in credentials.yml must hold keys such as `token:`, not a single value")
    return {str(key): value for key, value in credentials.items() if value is not None}


def _take(given: dict[str, Any], name: str, variable: str | None) -> None:
    if variable and not given.get(name):
        given[name] = variable


def _checked(kind: type[_Kind], section: str, given: Mapping[str, Any]) -> _Kind:
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        variable = f"{section.upper()}_{name.upper()}"
        what = f"set it in credentials.yml, or {variable}" if first["type"] == "missing" else first["msg"]
        raise ValueError(f"{section}: {name}: {what} (docs/wechat.md)") from error
