"""An iperf3 server for one test, in a process of its own.

The binding redirects its process's stdout, blocks, and stops working after some runs in one process; so each
turn has a fresh process, which its parent kills when the turn is over. Result: one line of JSON on stdout.

    python -m cloud_daemon.iperf_child HOST PORT PARENT_PID
"""

from __future__ import annotations

import json
import sys

from common.child_process import end_with_parent

MOST_S = 15
"""Well beyond a turn."""


def main() -> int:
    end_with_parent(int(sys.argv[3]), most_s=MOST_S)
    import iperf3

    server = iperf3.Server()
    server.bind_address = sys.argv[1]
    server.port = int(sys.argv[2])
    server.verbose = False
    result = server.run()
    error = getattr(result, "error", None)
    print(json.dumps({"error": error}), flush=True)
    return 1 if error else 0


if __name__ == "__main__":
    sys.exit(main())
