"""An iperf3 server for one test of one peer, in a process of its own.

The binding redirects its process's stdout, blocks, and stops working after some runs in one process; so each
turn has a fresh process, which its parent kills when the turn is over. A line `ready` on stdout says that the
server listens and that nobody but PEER can reach it; on stderr, why there is none.

    python -m cloud_daemon.iperf_child HOST PORT PARENT_PID PEER
"""

from __future__ import annotations

import os
import sys
import threading
import time

from cloud_daemon.peer_filter import attach, listening_here, others_connected
from common.child_process import end_with_parent

MOST_S = 15
"""Well beyond a turn."""
LOOK_AGAIN_S = 0.001


def main() -> int:
    host, port, parent, peer = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    end_with_parent(parent, most_s=MOST_S)
    import iperf3

    server = iperf3.Server()
    server.bind_address = host
    server.port = port
    server.verbose = False
    stdout = os.dup(1)  # the binding takes 1 over
    threading.Thread(target=_guard, args=(port, peer, stdout), daemon=True).start()
    result = server.run()
    error = getattr(result, "error", None)
    if error:
        print(error, file=sys.stderr, flush=True)
    return 1 if error else 0


def _guard(port: int, peer: str, stdout: int) -> None:
    """Close the server to all but `peer` as soon as it listens: it does so within a call that does not return.

    Whoever connected in the millisecond before that ends the turn.
    """
    try:
        while not _close_to_others(port, peer):
            time.sleep(LOOK_AGAIN_S)
        others = others_connected(port, peer)
        if others:
            raise OSError(f"{others[0]} has connected out of turn")
    except OSError as error:
        os.write(2, f"it cannot be kept for {peer} alone: {error}\n".encode())
        os._exit(1)
    os.write(stdout, b"ready\n")


def _close_to_others(port: int, peer: str) -> bool:
    for listener in listening_here():
        with listener:
            if listener.getsockname()[1] == port:
                attach(listener, peer)
                return True
    return False


if __name__ == "__main__":
    sys.exit(main())
