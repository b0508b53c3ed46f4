"""What atheris fuzzes: `python -m tests.fuzz.atheris_target DIRECTORY [libFuzzer's options]`.

The first byte chooses the hearer and its state, the second where the stream is cut; the rest is the stream. The
directory is filled with one valid message of each type and with the corpus, and keeps what is found beside them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path


def main() -> None:
    atheris = importlib.import_module("atheris")  # not always there, and without types
    with atheris.instrument_imports(include=["common.wire", "common.graph"]):
        from common.wire.connection import Role, State
        from tests.common.wire.samples import SAMPLES, packed, payload_for
        from tests.fuzz.oracle import hear, pieces
    from tests.fuzz.write_corpus import CORPUS

    starts = [(role, state) for role in Role for state in (State.GREETING, State.OPEN, State.DRAINING)]

    def one_input(data: bytes) -> None:
        if len(data) > 2:
            role, state = starts[data[0] % len(starts)]
            stream = data[2:]
            assert hear(role, state, pieces(stream, [data[1] * 7])) == hear(role, state, [stream])

    directory = Path(sys.argv[1])
    seeds = [packed(message, payload_for(message)) for message in SAMPLES.values()]
    seeds += [path.read_bytes() for path in CORPUS.glob("*.stream")]
    for number, stream in enumerate(seeds):
        for start in range(len(starts)):
            (directory / f"seed-{number}-{start}").write_bytes(bytes([start, 3]) + stream)
    atheris.Setup([sys.argv[0], *sys.argv[2:], sys.argv[1]], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
