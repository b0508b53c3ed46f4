"""Facts about streams that are almost right: a million of them, each parsed or refused, however they are cut."""

from __future__ import annotations

import itertools
import os
import time

import pytest

from tests.fuzz.mutants import BLOCK, WAYS, mutant, mutants
from tests.fuzz.oracle import DEPTHS, hear
from tests.fuzz.run import BYTEWISE, run_block, run_blocks, table, total

MUTANTS = 1_000_000


@pytest.mark.alone
@pytest.mark.timeout(600)  # a busy machine is no reason to fail
def test_a_million_mutants_are_heard_or_refused_whole_and_cut() -> None:
    """No stream raises anything but the peer's protocol error, or is heard otherwise when it comes in pieces.

    And the number is not hollow: mutants of every way get past every check.
    """
    began = time.perf_counter()
    found = total(run_blocks(range(MUTANTS // BLOCK), workers=os.cpu_count() or 1))
    spent_s = time.perf_counter() - began
    print(f"\n{MUTANTS:,} mutants in {spent_s:.0f} s, {found.bytewise:,} of them byte by byte too")
    print(table(found.depths))
    assert found.depths.total() == found.ways.total() == MUTANTS
    assert found.bytewise >= MUTANTS // BYTEWISE
    assert set(found.ways) == {way.__name__ for way in WAYS}
    known = {name for _, name in DEPTHS} | {"8 waits for more", "9 heard to the end"}
    assert set(found.depths) <= known, "an error that nobody foresaw"
    assert {depth[0] for depth in found.depths} == {name[0] for name in known}
    past_msgpack = sum(n for depth, n in found.depths.items() if depth[0] in "4569")
    assert past_msgpack > MUTANTS * 0.4
    assert found.depths["9 heard to the end"] > MUTANTS * 0.1


def test_a_number_always_makes_the_same_mutant() -> None:
    """A mutant that was found bad is found again by its number, alone and in any run."""
    numbers = [0, 1, 999, 1_000, 1_234, 77_777]
    some = {n: next(mutants(n, 1)) for n in numbers}
    assert some == {n: mutant(n) for n in numbers}
    assert list(mutants(998, 4)) == [mutant(n) for n in range(998, 1_002)]
    assert len({m.stream for m in mutants(0, 3_000)}) > 2_500
    assert run_block(7) == run_block(7)


def test_all_mutants_of_a_block_byte_by_byte() -> None:
    """Cut at every byte, a thousand streams give what they give whole."""
    assert run_block(3, bytewise=1).bytewise == BLOCK


def test_the_oracle_sees_what_breaks_an_invariant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lets another error through, or loses a byte between reads, would be found."""
    from common.wire import framing
    from common.wire.connection import Connection
    from tests.fuzz.run import BrokenInvariantError

    def foreign(*_: object, **__: object) -> None:
        raise KeyError("tensors")

    with monkeypatch.context() as patch:
        patch.setattr(framing, "parse_header", foreign)
        with pytest.raises(BrokenInvariantError, match=r"mutant 0 \(.*KeyError"):
            run_block(0)

    whole = Connection.received
    reads = itertools.count()

    def forgetful(self: Connection, nbytes: int, now: float) -> object:
        return whole(self, nbytes - (next(reads) % 50 == 49), now)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "received", forgetful)
        with pytest.raises(BrokenInvariantError, match="cut at"):
            run_block(0)
    assert hear(mutant(0).role, mutant(0).state, [mutant(0).stream])
