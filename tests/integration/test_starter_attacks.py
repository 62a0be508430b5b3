"""Nobody gets at another customer's order through the served starter, whatever they say, in either language."""

from collections.abc import Callable
from pathlib import Path

from tests.effect_attacks import ATTACKS, effects_in, told_of_orders
from tests.server import Server


def test_no_attack_has_an_effect_or_learns_of_an_order(serve: Callable[..., Server], home: Path) -> None:
    server = serve()
    for attack in ATTACKS:
        said = [
            str(reply.get("text", ""))
            for message in attack.messages
            for reply in server.say(message, sender=attack.name, metadata=attack.metadata)
        ]
        assert said, attack.name
        assert told_of_orders(said) == [], attack.name
        assert effects_in(home) == [], attack.name


def test_the_same_effects_are_seen_where_the_contact_is_right(serve: Callable[..., Server], home: Path) -> None:
    """What the attacks are measured by does see effects, and words of an order."""
    server = serve()
    for message in ("cancel my order A-1005", "li.ming@example.org", "/affirm"):
        server.say(message, sender="li")
    assert effects_in(home) == ["cancellation A-1005"]
    said = [
        str(reply.get("text", ""))
        for m in ("where is order A-1001?", "anna.weber@example.com")
        for reply in server.say(m)
    ]
    assert told_of_orders(said) == ["a linen duvet cover and two pillowcases"]
