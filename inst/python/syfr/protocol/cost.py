"""What an operation costs, declared beside it: message delays, and bytes of all messages between workers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Delays of the online phase and bytes between workers, headers not counted.

    Attributes:
        delays: messages that must follow one another.
        online_bytes: sent once the input is known.
        preprocessing_bytes: sent by the dealer ahead.
    """

    delays: int = 0
    online_bytes: int = 0
    preprocessing_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.delays + other.delays,
            self.online_bytes + other.online_bytes,
            self.preprocessing_bytes + other.preprocessing_bytes,
        )
