"""What atheris fuzzes: `python -m tests.fuzz.atheris_target [libFuzzer's options] [corpus …]`.

The first byte chooses the hearer and its state, the second where the stream is cut; the rest is the stream.
"""

from __future__ import annotations

import importlib
import sys

from common.wire.connection import Role, State
from tests.fuzz.oracle import hear, pieces

STARTS = [(role, state) for role in Role for state in (State.GREETING, State.OPEN, State.DRAINING)]


def one_input(data: bytes) -> None:
    if len(data) > 2:
        role, state = STARTS[data[0] % len(STARTS)]
        stream = data[2:]
        assert hear(role, state, pieces(stream, [data[1] * 7])) == hear(role, state, [stream])


def main() -> None:
    atheris = importlib.import_module("atheris")  # not always there, and without types
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
