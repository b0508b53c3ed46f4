"""Take the pictures of both pages for docs/seeing.md: `make pictures` (two minutes; needs chromium and mosquitto).

A real pair with AlexNet, on an emulated link that is walked from 100 to 4 Mbit/s, and a broker that is told of
answers.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from benchmarks.emulated_link import EmulatedLink, Forward, LinkShape
from benchmarks.frames import make_frames
from benchmarks.pair import Cloud, Edge, free_port
from tests.mosquitto import BROKER, Broker
from tests.system.browser import Page, find_chromium, page_in_chromium

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"
MODEL = {"CLEAVE_MODEL": "alexnet", "CLEAVE_WEIGHTS": "random:0"}
FPS = 2
WALK_MBIT = (100, 20, 4)
PHASE_S = 30.0
LINK_HOST = "127.0.0.2"
LOOKS = {
    "light": {"width": 1280, "dark": False, "scale": 1.0},
    "dark": {"width": 1280, "dark": True, "scale": 1.0},
    "phone": {"width": 390, "dark": False, "scale": 1.5},
}


async def take(directory: Path) -> None:
    """Run the pair and take six pictures."""
    frames = make_frames(directory / "frames", int(FPS * PHASE_S * len(WALK_MBIT)) + 40, quality=88)
    broker = Broker(directory)
    broker.start()
    edge_page, cloud_page = free_port(), free_port()
    port, iperf = free_port(), free_port()
    forwards = [Forward(listen=(LINK_HOST, one), target=("127.0.0.1", one)) for one in (port, iperf)]
    cloud = Cloud(
        directory,
        port=port,
        CLEAVE_CLOUD_HTTP=f"127.0.0.1:{cloud_page}",
        CLEAVE_CLOUD_IPERF_PORT=iperf,
        CLEAVE_CLOUD_THREADS=1,
        CLEAVE_CLOUD_NAME="rack",
        **MODEL,
    )
    edge = Edge(
        directory,
        cloud=(LINK_HOST, port),
        CLEAVE_EDGE_HTTP=f"127.0.0.1:{edge_page}",
        CLEAVE_EDGE_NAME="porch",
        CLEAVE_EDGE_SLOWDOWN=8,
        CLEAVE_EDGE_THREADS=1,
        CLEAVE_EDGE_SAMPLING_FPS=FPS,
        CLEAVE_EDGE_REPLAN_INTERVAL_S=2,
        CLEAVE_EDGE_MQTT=f"mqtt://127.0.0.1:{broker.port}",
        **MODEL,
    )
    try:
        await broker.listening()
        async with EmulatedLink(forwards, _shape(WALK_MBIT[0])) as link, cloud:
            await cloud.listening()
            async with edge:
                edge.offer(frames)
                await edge.planned(timeout_s=120)
                for mbit in WALK_MBIT:
                    print(f"{mbit} Mbit/s", flush=True)
                    link.set_rate(mbit * 1e6)
                    await asyncio.sleep(PHASE_S)
                async with page_in_chromium(directory) as page:
                    await _pictures(page, "edge", edge_page, "#latest:not([hidden]) img[src]")
                    await _pictures(page, "cloud", cloud_page, "#edges tr")
    finally:
        broker.stop()


def _shape(mbit: float) -> LinkShape:
    return LinkShape(rate_bps=mbit * 1e6, delay_ms=5.0)


async def _pictures(page: Page, daemon: str, port: int, shown: str) -> None:
    for name, look in LOOKS.items():
        await page.look(width=int(look["width"]), scale=float(look["scale"]), dark=bool(look["dark"]))
        await page.go(f"http://127.0.0.1:{port}")
        await page.until(
            f"document.body.dataset.state === 'live' && document.querySelector('{shown}') !== null"
        )
        await asyncio.sleep(3)  # a strip of frames, and curves that have been drawn
        (PICTURES / f"{daemon}-{name}.png").write_bytes(smaller(await page.picture()))
        print(f"{daemon}-{name}.png", page.console or "", flush=True)


def smaller(png: bytes) -> bytes:
    """Give a picture 256 colours: a third of the bytes, and nobody sees it."""
    written = io.BytesIO()
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


def main() -> int:
    if find_chromium() is None or BROKER is None:
        print("chromium or mosquitto is missing: apt-get install chromium mosquitto", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="cleave-pictures-") as directory:
        asyncio.run(take(Path(directory)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
