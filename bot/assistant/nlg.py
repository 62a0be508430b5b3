"""`nlg:` of `endpoints.yml`: the server that words an assistant's responses.

Invariant: a server that is named is either asked or told of with its place; the domain words the responses otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bot.assistant.source import Node, Problems

_KEYS = frozenset({"url", "type", "token", "token_name", "params", "headers", "basic_auth"})


@dataclass(frozen=True, kw_only=True)
class NlgEndpoint:
    """Where the server is and what it wants to see, as Rasa sends it.

    Attributes:
        params: of the address; a token is one of them.
        basic_auth: name and password.
    """

    url: str
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    basic_auth: tuple[str, str] | None = field(default=None, repr=False)


def nlg_kind(written: object) -> Literal["server", "domain", "rephrase", "own"]:
    """Who words the responses by `type`: a server (also where nothing is written), the domain, a generator after the
    domain, a class of theirs."""
    match str(written or "callback").lower():
        case "callback":
            return "server"
        case "response":
            return "domain"
        case "rephrase":
            return "rephrase"
        case _:
            return "own"


def read_nlg(section: Node | None, settings: Any, problems: Problems) -> NlgEndpoint | None:
    """The server to ask; None where the domain words the responses.

    Args:
        settings: the section's plain values, variables resolved.
    """
    if section is None or not section.expect_map(problems):
        return None
    kind = nlg_kind(settings.get("type"))
    if kind == "own":
        message = f"the `nlg` type '{settings['type']}' is not run: responses come from the domain"
        problems.warning(section, message, "Write the responses in the domain, or run it as a server and name its url.")
    if kind == "rephrase":
        # Which generator is for kefu.yml to say (`generation:`), and which responses for their own metadata.
        section.warn_unknown_keys(frozenset({"type"}), problems)
    if kind != "server":
        return None
    url = str(settings.get("url") or "")
    if not url.startswith(("http://", "https://")):
        message = "the `nlg` server is not asked: its `url` does not begin with http:// or https://"
        problems.warning(section.get("url") or section, message, "Responses come from the domain.")
        return None
    if cafile := section.get("cafile"):
        problems.warning(cafile, "`cafile` of the `nlg` server is not read", "Set SSL_CERT_FILE in the environment.")
    section.warn_unknown_keys(_KEYS | {"cafile"}, problems)
    return _endpoint(section, settings, url, problems)


def _endpoint(section: Node, settings: Mapping[str, Any], url: str, problems: Problems) -> NlgEndpoint:
    params, headers, login = (_texts(section, settings, key, problems) for key in ("params", "headers", "basic_auth"))
    if token := settings.get("token"):
        params[str(settings.get("token_name") or "token")] = str(token)
    for name, value in headers.items():
        if not f"{name}{value}".isascii():
            problems.error(section.get("headers"), f"the header '{name}' has letters beyond ASCII")
    return NlgEndpoint(
        url=url,
        params=params,
        headers=headers,
        basic_auth=(login.get("username", ""), login.get("password", "")) if login else None,
    )


def _texts(section: Node, settings: Mapping[str, Any], key: str, problems: Problems) -> dict[str, str]:
    node = section.get(key)
    if node is None or not node.expect_map(problems):
        return {}
    return {name: str(value) for name, value in settings[key].items()}
