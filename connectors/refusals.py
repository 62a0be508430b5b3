"""How often an address may fail to prove who it is. After that it is told to wait, instead of what was wrong.

Only refusals are counted, and only a refusal is ever answered otherwise: whoever has the right signature is never held
up, whoever else guesses from the same address. Invariant: memory is bounded, however many addresses there are.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

WINDOW_S = 60.0
MAX_ADDRESSES = 10_000


class Refusals:
    """The refusals of the last minute, by address, in this process.

    Args:
        per_min: so many are answered as what they are; 0: all.
    """

    def __init__(self, per_min: int = 30, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_min, self._clock = per_min, clock
        self._counted: dict[str, tuple[float, int]] = {}

    def note(self, address: str | None) -> float | None:
        """Count a refusal.

        Returns the seconds to wait where there were too many; this machine itself (and None, a local socket) never has.
        """
        if not self._per_min or address is None or (key := _key(address)) is None:
            return None
        now = self._clock()
        since, count = self._counted.get(key, (now, 0))
        if now - since >= WINDOW_S:
            since, count = now, 0
            self._counted.pop(key, None)  # an entry's place is its age
        self._counted[key] = since, count + 1
        if len(self._counted) > MAX_ADDRESSES:
            del self._counted[next(iter(self._counted))]
        return None if count < self._per_min else since + WINDOW_S - now


def _key(address: str) -> str | None:
    """What one stranger has: an IPv4 address, the half of an IPv6 address that names a network. None for loopback."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_loopback:
        return None
    return str(ip) if ip.version == 4 else ip.exploded[:19]
