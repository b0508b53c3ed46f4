"""The usual way to a cloud: POST the JPEG to a small Starlette server, get the classes as JSON. Both ends.

    python -m benchmarks.http_baseline server HOST PORT MODEL WEIGHTS
    python -m benchmarks.http_baseline client HOST PORT

The server is as a user would write it: torchvision's network in eager mode on one thread, no batching. The client
keeps its connection. Each line on its standard input is the path of a JPEG; the answer says how many ms passed from
sending it to having read the classes.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from pathlib import Path

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.plain_classifier import PlainClassifier

PATH = "/classify"
TIMEOUT_S = 120.0
KEEP_ALIVE_S = 3600
"""The server closes no idle connection meanwhile: connecting is not what is compared."""


def application(classifier: PlainClassifier) -> Starlette:
    """The server's application: one route."""

    async def classify(request: Request) -> JSONResponse:
        jpeg = await request.body()
        return JSONResponse({"top5": classifier.top5(jpeg)})

    return Starlette(routes=[Route(PATH, classify, methods=["POST"])])


def serve(host: str, port: int, name: str, weights: str) -> None:
    """Serve until standard input ends."""
    torch.set_num_threads(1)
    config = uvicorn.Config(
        application(PlainClassifier(name, weights)),
        host=host,
        port=port,
        log_level="warning",
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)

    def watch() -> None:
        while not server.started:
            time.sleep(0.05)
        print(json.dumps({"ready": True}), flush=True)
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run()


class Client:
    """A kept connection to the server."""

    def __init__(self, host: str, port: int) -> None:
        self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def classify(self, jpeg: bytes) -> list[dict[str, float]]:
        """Upload a JPEG; return the classes. Raises `RuntimeError` for an answer that is none."""
        self._connection.request("POST", PATH, jpeg, {"Content-Type": "image/jpeg"})
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {body[:200]!r}")
        classes: list[dict[str, float]] = json.loads(body)["top5"]
        return classes


def ask(host: str, port: int) -> None:
    """Time an upload for each line of standard input."""
    client = Client(host, port)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        jpeg = Path(line.strip()).read_bytes()
        began = time.perf_counter()
        client.classify(jpeg)
        print(json.dumps({"ms": (time.perf_counter() - began) * 1e3}), flush=True)


def main() -> int:
    role, host, port, *rest = sys.argv[1:]
    if role == "server":
        name, weights = rest
        serve(host, int(port), name, weights)
    else:
        ask(host, int(port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
