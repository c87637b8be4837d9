"""What streams say, as both kinds of stream write it."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

STATE = "state"  # the operation as it is now; the latest wins
STEP = "step"  # a finished unit, none missing
END = "end"  # the operation as it ended
BYE = "bye"  # the server stops; whoever comes back goes on where it was


class Message(NamedTuple):
    """One event; `id` is the store's sequence up to which the reader has heard every step."""

    event: str
    id: int
    data: str  # JSON on one line


class Chunk:
    """Messages that are sent together, encoded once for all who read them."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages

    @cached_property
    def sse(self) -> bytes:
        """As server-sent events."""
        return "".join(
            f"id: {each.id}\nevent: {each.event}\ndata: {each.data}\n\n" for each in self.messages
        ).encode()

    @cached_property
    def texts(self) -> list[str]:
        """As WebSocket texts, one each."""
        return [
            f'{{"event": "{each.event}", "id": {each.id}, "data": {each.data}}}' for each in self.messages
        ]
