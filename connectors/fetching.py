"""Downloads of addresses that a platform, a customer or a bot named: a picture in Slack or WeChat, an attachment; and
what a channel must have whose customers' files lie with the platform (`FileConnector`).

Whoever names an address must not reach what only this machine can reach: its own ports, the network behind it, the
cloud's metadata. So the name is resolved here, every address it has is checked, and the connection goes to a checked
address, while TLS and the Host header keep the name. A redirect is a new address and is checked as the first was.

Invariant: no byte is sent to an address that `FetchPolicy.allows` was not asked about, and no name is resolved twice.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import httpx

from connectors.base import Connector, ConnectorError, InboundMessage
from connectors.files import MEGABYTE, FileTooLarge, size_text

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
_PORTS = {"http": 80, "https": 443}
_UNICAST = ipaddress.ip_network("2000::/3")  # all that is given out of IPv6 so far
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED = (
    ipaddress.ip_network("168.63.129.16/32"),  # public by its number, but answered by Azure's own machines
    # Special, which not every supported Python knows: protocol assignments (Oracle's metadata), documentation.
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("3fff::/20"),
)


class FetchRefused(ConnectorError):
    """The address must not be fetched, or what it answers must not be taken; trying again does not help."""

    http_status = 400


class FetchFailed(ConnectorError):
    """The other side did not answer as it should; trying again may help."""

    http_status = 502


@dataclass(frozen=True, kw_only=True)
class PlatformFile:
    """A file as the platform gave it; both are only its word for it."""

    name: str
    content: bytes


@runtime_checkable
class FileConnector(Connector, Protocol):
    """A channel whose customers' files lie with the platform: a worker fetches them before the turn they belong to."""

    async def fetch_file(
        self, message: InboundMessage, attachment: Mapping[str, Any], max_bytes: int
    ) -> PlatformFile | None:
        """Get one entry of `message.metadata["attachments"]`; None where the entry is no file (a place, a link).

        Raises FileTooLarge, FetchRefused or FetchFailed; after the last it is called again.
        """
        ...


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could reach it: not private, loopback, link-local, multicast, metadata …

    An IPv6 address that stands for an IPv4 one (mapped, 6to4, Teredo, NAT64) is judged as that one.
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = _embedded(address)
        if inner is not None:
            return all(is_public(one) for one in inner)
        if address not in _UNICAST:
            return False
    is_special = address.is_multicast or address.is_reserved or any(address in network for network in _REFUSED)
    return address.is_global and not is_special


def _embedded(address: ipaddress.IPv6Address) -> Sequence[Address] | None:
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return address.teredo
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return None


async def resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a name, as the system knows it; it also reads the decimal, octal and short forms of IPv4."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True, kw_only=True)
class FetchPolicy:
    """What may be fetched.

    Attributes:
        schemes: "http" only for a platform inside one's own network.
        allows: asked about every address before a connection is made to it.
        within_s: for all of it, redirects included.
        tls: whose certificates are believed; None: the usual authorities'.
    """

    schemes: frozenset[str] = frozenset({"https"})
    max_bytes: int = 10 * MEGABYTE
    within_s: float = 20.0
    max_redirects: int = 3
    allows: Callable[[Address], bool] = is_public
    resolve: Callable[[str, int], Awaitable[Sequence[str]]] = resolve
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """`media_type` is the other side's word for it: `FileStore.put` looks at the content itself."""

    content: bytes
    media_type: str
    url: str


async def fetch(url: str, policy: FetchPolicy | None = None, headers: Mapping[str, str] | None = None) -> Fetched:
    """Download one file.

    Args:
        headers: such as Authorization; they are not handed on when a redirect leads to another server.
    Raises:
        FetchRefused: the address is not allowed, the other side says that there is nothing, or the file is packed.
        FileTooLarge: it has more than `policy.max_bytes`.
        FetchFailed: no such name, no connection, another status than 200, or not done in time.
    """
    policy = policy or FetchPolicy()
    try:
        async with asyncio.timeout(policy.within_s):
            return await _follow(url, policy, dict(headers or {}))
    except TimeoutError as error:
        raise FetchFailed(f"the download took longer than {policy.within_s:g} s") from error
    except httpx.HTTPError as error:
        raise FetchFailed(f"the download failed: {type(error).__name__}") from error


async def _follow(url: str, policy: FetchPolicy, headers: dict[str, str]) -> Fetched:
    here = _parsed(url, policy)
    for _ in range(policy.max_redirects + 1):
        found = await _get(here, policy, headers)
        if isinstance(found, Fetched):
            return found
        there = _parsed(_joined(here, found), policy)
        if _server(there) != _server(here):
            headers = {}
        here = there
    raise FetchRefused(f"more than {policy.max_redirects} redirects")


def _joined(base: httpx.URL, location: str) -> str:
    try:
        return str(base.join(location))
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchRefused("a redirect leads to no address") from error


def _parsed(url: str, policy: FetchPolicy) -> httpx.URL:
    """The URL as the library reads it that will also connect: two readers would see two hosts."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise FetchRefused("the address cannot be read") from error
    if parsed.scheme not in policy.schemes:
        raise FetchRefused(f"the address must begin with {' or '.join(sorted(policy.schemes))}://")
    if parsed.userinfo:
        raise FetchRefused("the address must not hold a user or a password")
    if not parsed.raw_host or "%" in parsed.host:  # an escape, or the zone of a link-local address
        raise FetchRefused("the address names no host")
    if parsed.port is not None and not 0 < parsed.port < 65_536:
        raise FetchRefused("the address names no port")
    return parsed


def _server(url: httpx.URL) -> tuple[str, bytes, int]:
    return url.scheme, url.raw_host, url.port or _PORTS[url.scheme]


async def _checked_addresses(url: httpx.URL, policy: FetchPolicy) -> list[str]:
    _, host, port = _server(url)
    try:
        found = [ipaddress.ip_address(one) for one in await policy.resolve(host.decode("ascii"), port)]
    except (OSError, ValueError) as error:  # also a label that is too long for a name
        raise FetchFailed(f"the host {url.host} cannot be found") from error
    if not found:
        raise FetchFailed(f"the host {url.host} cannot be found")
    # One forbidden address is enough: which of them is taken must not be the attacker's luck.
    if not all(policy.allows(address) for address in found):
        raise FetchRefused(f"the host {url.host} is not on the public internet")
    return [str(address) for address in found]


async def _get(url: httpx.URL, policy: FetchPolicy, headers: Mapping[str, str]) -> Fetched | str:
    """The file, or where a redirect leads."""
    addresses = await _checked_addresses(url, policy)
    asked = {
        "User-Agent": "kefu",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # a few packed bytes can become gigabytes
        **headers,
        "Host": url.netloc.decode("ascii"),
    }
    # A client of its own: a kept connection knows its address, not the name that its certificate was checked for.
    async with httpx.AsyncClient(verify=policy.tls or _usual_authorities(), trust_env=False, timeout=None) as client:
        for place, address in enumerate(addresses, start=1):
            request = client.build_request(
                "GET",
                url.copy_with(host=address),
                headers=asked,
                extensions={"sni_hostname": url.raw_host.decode("ascii"), "timeout": {"connect": policy.within_s / 2}},
            )
            try:
                response = await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if place == len(addresses):
                    raise
                continue
            try:
                return await _taken(response, url, policy)
            finally:
                await response.aclose()
    raise AssertionError("unreachable: the last address returns or raises")


async def _taken(response: httpx.Response, url: httpx.URL, policy: FetchPolicy) -> Fetched | str:
    location = response.headers.get("location")
    if response.status_code in _REDIRECTS and location:
        return str(location)
    if response.status_code != 200:
        is_final = 400 <= response.status_code < 500 and response.status_code not in _WORTH_ANOTHER_TRY
        raise (FetchRefused if is_final else FetchFailed)(f"the host {url.host} answered {response.status_code}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise FetchRefused("the file came packed, which was not asked for")
    content = bytearray()
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > policy.max_bytes:
        raise FileTooLarge(f"the file is larger than {size_text(policy.max_bytes)}")
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > policy.max_bytes:
            raise FileTooLarge(f"the file is larger than {size_text(policy.max_bytes)}")
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Fetched(content=bytes(content), media_type=media_type or "application/octet-stream", url=str(url))


@functools.cache
def _usual_authorities() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
