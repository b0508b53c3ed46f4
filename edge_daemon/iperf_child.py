"""An iperf3 client for one test, in a process of its own (the binding blocks, and takes stdout over).

    python -m edge_daemon.iperf_child HOST PORT SECONDS PARENT_PID

Result: one line of JSON on stdout, `{"bps": …}` as the server received it, or `{"error": …}`.
"""

from __future__ import annotations

import json
import sys

from common.child_process import end_with_parent

MOST_S = 15
"""Well beyond a probe's time-out."""

BLOCK_BYTES = 8 * 1024
"""Small writes: with the binding's 128 KiB a slow link would get less than one block a second."""


def main() -> int:
    end_with_parent(int(sys.argv[4]), most_s=MOST_S)
    try:
        import iperf3

        client = iperf3.Client()
    except (ImportError, OSError) as error:
        print(json.dumps({"error": f"no iperf3: {error}"}))
        return 1
    client.server_hostname = sys.argv[1]
    client.port = int(sys.argv[2])
    client.duration = int(sys.argv[3])
    client.blksize = BLOCK_BYTES
    result = client.run()
    failure = getattr(result, "error", None)
    if failure:
        print(json.dumps({"error": str(failure)}))
        return 1
    print(json.dumps({"bps": float(result.received_bps)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
