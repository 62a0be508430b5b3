"""Refusals by address: how many, for how long, whose, and that memory is bounded."""

from __future__ import annotations

import pytest

from connectors import refusals as module
from connectors.refusals import Refusals


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def noted(refusals: Refusals, address: str, times: int) -> list[float | None]:
    return [refusals.note(address) for _ in range(times)]


def test_so_many_are_answered_as_what_they_are_and_further_ones_wait_for_the_minutes_end() -> None:
    clock = Clock()
    refusals = Refusals(2, clock)
    assert noted(refusals, "203.0.113.7", 3) == [None, None, 60.0]
    clock.now += 45
    assert noted(refusals, "203.0.113.7", 1) == [15.0]
    assert noted(refusals, "203.0.113.8", 1) == [None]
    clock.now += 15
    assert noted(refusals, "203.0.113.7", 3) == [None, None, 60.0]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
def test_this_machine_is_not_counted(address: str | None) -> None:
    refusals = Refusals(1)
    assert [refusals.note(address) for _ in range(3)] == [None, None, None]


def test_none_is_no_limit() -> None:
    assert noted(Refusals(0), "203.0.113.7", 99) == [None] * 99


@pytest.mark.parametrize(
    ("one", "other", "are_the_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("a proxy's word", "a proxy's word", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, are_the_same: bool) -> None:
    refusals = Refusals(1)
    assert refusals.note(one) is None
    assert (refusals.note(other) is not None) is are_the_same


def test_memory_is_bounded_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ADDRESSES", 3)
    refusals = Refusals(1)
    for last in range(1, 5):
        assert refusals.note(f"203.0.113.{last}") is None
    assert refusals.note("203.0.113.4") is not None
    assert refusals.note("203.0.113.1") is None
