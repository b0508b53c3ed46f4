"""Messages for spools and outboxes, and what comes out of a spool."""

from __future__ import annotations

from edge_daemon.sinks.messages import Message
from edge_daemon.sinks.spool import Batch, Spool


def letter(number: int, length: int = 0) -> Message:
    """A message that tells its number."""
    return Message.of(b'{"frame": %d, "pad": "%s"}' % (number, b"x" * length))


def letters(*numbers: int) -> list[Message]:
    return [letter(number) for number in numbers]


def number_of(message: Message) -> int:
    return int(message.record[len(b'{"frame": ') :].partition(b",")[0])


def numbers(batch: Batch) -> list[int]:
    return [number_of(message) for message in batch.messages]


def drain(spool: Spool, most: int = 7) -> list[int]:
    """Take all that is there, a few at a time."""
    taken: list[int] = []
    while spool.records:
        batch = spool.peek(most, 10_000)
        taken += numbers(batch)
        spool.confirm(batch)
    return taken
