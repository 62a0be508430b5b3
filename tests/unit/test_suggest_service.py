"""What is suggested out of a company's files: never what a customer has had, nor by orders of somebody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.answers.suggest_service import Suggestions
from bot.suggesting import customers
from tests.dialogue import assistant_of

THINGS = [f"thing-{number}" for number in range(6)]
FILES = {
    "config.yml": "language: en\npolicies: [{name: RulePolicy}]\n",
    "domain.yml": 'version: "3.1"\nintents: [greet]\n',
    "kefu.yml": "suggestions: {orders: suggest/orders.csv, count: 6, explore: 0.5}\n",
    "suggest/orders.csv": "customer,product_id,returned\n",
    "suggest/catalogue.csv": "id,name,stock\n",
}
ORDERS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(THINGS), st.sampled_from(["yes", ""])), max_size=12)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS, stock=st.lists(st.integers(0, 2), min_size=6, max_size=6), seed=st.text(max_size=5))
def test_what_was_bought_or_returned_and_what_is_out_of_stock_never_comes(
    tmp_path: Path, orders: list[tuple[str, str, str]], stock: list[int], seed: str
) -> None:
    rows = [f"{name},{name},{left}\n" for name, left in zip(THINGS, stock, strict=True)]
    written = {
        "suggest/catalogue.csv": FILES["suggest/catalogue.csv"] + "".join(rows),
        "suggest/orders.csv": FILES["suggest/orders.csv"] + "".join(f"{','.join(order)}\n" for order in orders),
    }
    found = Suggestions(assistant_of(tmp_path, {**FILES, **written})).suggest(["thing-1"], ["a"], "en", seed)
    had = {item for customer, item, _ in orders if customer == "a"}
    allowed = {name for name, left in zip(THINGS, stock, strict=True) if left} - had
    assert {each.item.id for each in found.shown} == allowed if found else not allowed
    if found:
        assert {each["id"] for each in found.log["candidates"]} == allowed


def test_an_assistant_without_suggestions_suggests_nothing(tmp_path: Path) -> None:
    for written in ("", "suggestions: off\n"):
        assistant = assistant_of(tmp_path, {**FILES, "kefu.yml": written})
        assert Suggestions(assistant).suggest(["hello"], [], "en", "1") is None


@pytest.mark.parametrize(
    ("sender", "identity", "known"),
    [
        ("anna@example.com", None, []),
        (
            "web:abc",
            {"verified": True, "email": "anna@example.com", "phone": "+49 30 1"},
            ["anna@example.com", "+49 30 1"],
        ),
        ("web:abc", {"email": "anna@example.com"}, []),
        ("web:abc", {"verified": "true", "email": "anna@example.com"}, []),
        ("slack:T1:U1", None, ["slack:T1:U1"]),
        ("web:abc", "anna@example.com", []),
    ],
)
def test_only_what_was_verified_says_who_a_customer_is(sender: str, identity: object, known: list[str]) -> None:
    assert customers(sender, {"identity": identity}) == known
