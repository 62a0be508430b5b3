"""When an annoyed customer is offered a person, before having to ask for one.

The platform names the sentiment of each written message; this counts. The invariant: a customer is offered a person
once per bad patch, not after every message.
"""

from dataclasses import dataclass

# One sharp sentence may be about something else; two in a row are about us.
OFFER_AFTER = 2


@dataclass(frozen=True)
class Mood:
    """Annoyed messages in a row, and whether this very message is the one to offer a person after."""

    annoyed: int
    is_time_to_offer: bool


def mood_after(annoyed_so_far: int, sentiment: str | None) -> Mood:
    """Count one more written message; anything but an annoyed one ends the patch."""
    if sentiment != "negative":
        return Mood(annoyed=0, is_time_to_offer=False)
    annoyed = annoyed_so_far + 1
    return Mood(annoyed=annoyed, is_time_to_offer=annoyed == OFFER_AFTER)
