"""What to do after a try to deliver: pure decisions, with randomness as an argument."""

from __future__ import annotations

import email.utils
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC

FIRST_S = 1.0
FACTOR = 2.0
MOST_S = 60.0
"""Back-off between tries: uniform(0, first), then growing by the factor up to the most, each ± 20%."""
HEALTHY_S = 30.0
"""A connection that lived this long starts the back-off anew."""
MOST_RETRY_AFTER_S = 3600.0
"""A receiver that asks for more patience is asked again after this."""

OPERATORS = frozenset({401, 402, 403, 404, 405, 407, 410, 421, 451})
"""Refusals of whoever asks, or of where he asks: every record would meet with them, and somebody can mend it."""
AGAIN = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The same once more, after so long."""

    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The receiver does not want this, however often it is sent."""

    reason: str


Verdict = Delivered | Again | Refused


def next_delay_s(attempt: int, rng: random.Random, most_s: float = MOST_S) -> float:
    """Return how long to wait, at most `most_s`, before try number `attempt` (1 is the first repetition)."""
    if attempt <= 1:
        return rng.uniform(0.0, FIRST_S)
    grown = min(FIRST_S * FACTOR ** min(attempt - 1, 32), most_s)
    return min(grown * rng.uniform(0.8, 1.2), most_s)


def judge(status: int, headers: Mapping[str, str], said: str, attempt: int, rng: random.Random) -> Verdict:
    """Say what an HTTP answer to try number `attempt` means. `said` is the beginning of its body.

    2xx: delivered. 4xx that are about the content: refused, so that one bad record does not hold up all others.
    Everything else is tried again: 408, 425, 429, 5xx; 401, 403, 404 and such, which somebody will mend; and 3xx, as
    a signed batch goes nowhere but to the address that was set.
    """
    if 200 <= status < 300:
        return Delivered()
    reason = f"HTTP {status}" + (f": {said}" if said else "")
    if 400 <= status < 500 and status not in OPERATORS | AGAIN:
        return Refused(reason)
    if 300 <= status < 400:
        reason = f"HTTP {status}: it redirects, and that is not followed; set the address itself"
    asked_s = retry_after_s(headers)
    delay_s = next_delay_s(attempt, rng)
    return Again(delay_s if asked_s is None else max(asked_s, delay_s), reason)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what `Retry-After` asks for: seconds, or a date, which is compared with the answer's own."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MOST_RETRY_AFTER_S)
    try:
        until = email.utils.parsedate_to_datetime(value)
        now = email.utils.parsedate_to_datetime(headers.get("Date", ""))
    except ValueError:
        return None
    seconds = (
        until.replace(tzinfo=until.tzinfo or UTC) - now.replace(tzinfo=now.tzinfo or UTC)
    ).total_seconds()
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_S) if math.isfinite(seconds) else None


def next_batch_size(size: int, sent: int, most: int, verdict: Verdict) -> int:
    """Return how many records to send together, after `sent` of at most `size`.

    After a refusal it is half of what was sent, to find out which record it is for; it doubles again afterwards.
    """
    if isinstance(verdict, Refused):
        return max(sent // 2, 1)
    return min(size * 2, most) if isinstance(verdict, Delivered) else size
