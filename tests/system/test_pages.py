"""The pages in a real browser: what is on them agrees with `/status`, and they live through what daemons do."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from benchmarks.pair import Edge, free_port
from tests.chaos.tiny_pair import make_cloud, make_edge, make_frames
from tests.system.browser import Page, find_chromium, page_in_chromium

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        find_chromium() is None, reason="chromium is not installed (apt-get install chromium)"
    ),
]

SPLIT = "after first + second"
EVIL = "<img src=x onerror=alert(1)>"
"""A name that would run a script, were it taken for markup."""
FACTS = """Object.fromEntries([...document.querySelectorAll("[data-path]")].map(
    (node) => [node.dataset.path, [JSON.parse(node.dataset.raw ?? "null"), node.textContent]]))"""
LIVE = "document.body?.dataset.state === 'live'"
PASSING = ("written_at", "process", "now", "recent", "load", "answered_per_s")
"""What is another number at each look."""


class Site:
    """A pair with pages, and a browser."""

    def __init__(self, root: Path, page: Page, **edge_settings: Any) -> None:
        self.page = page
        self.frames = make_frames(root / "frames", 12)
        (root / "evil").mkdir()
        self.evil = root / "evil" / "<b onclick=alert(2)>.jpg"
        self.evil.write_bytes(self.frames[0].read_bytes())
        self.edge_url = f"http://127.0.0.1:{free_port()}"
        self.cloud_url = f"http://127.0.0.1:{free_port()}"
        self.cloud = make_cloud(root, free_port(), CLEAVE_CLOUD_HTTP=self.cloud_url[7:])
        self._make_edge: Callable[[], Edge] = lambda: make_edge(
            root,
            self.cloud.address,
            CLEAVE_EDGE_HTTP=self.edge_url[7:],
            CLEAVE_EDGE_NAME=EVIL,
            CLEAVE_EDGE_PLAN=SPLIT,
            **edge_settings,
        )
        self.edge = self._make_edge()

    async def status(self, url: str) -> dict[str, Any]:
        async with aiohttp.ClientSession() as client, client.get(f"{url}/status") as answer:
            document: dict[str, Any] = await answer.json()
        return document

    async def shows_status(self, url: str) -> None:
        """Wait until every fact on the page is what `/status` says, or raise with what is not."""
        wrong: dict[str, Any] = {}
        for _ in range(100):
            status, facts = await self.status(url), await self.page.value(FACTS)
            wrong = {
                path: (shown, found(status, path))
                for path, (shown, _) in facts.items()
                if path.split(".")[0] not in PASSING and shown != found(status, path)
            }
            if not wrong:
                break
            await asyncio.sleep(0.1)
        assert wrong == {}
        assert len(facts) >= 10

    def another_edge(self) -> Edge:
        return self._make_edge()


def found(status: Any, path: str) -> Any:
    for name in path.split("."):
        status = status.get(name) if isinstance(status, dict) else None
    return status


def in_browser(root: Path, scenario: Callable[[Site], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with page_in_chromium(root) as page:
            await scenario(Site(root, page, **settings))

    asyncio.run(main())


def test_the_pages_of_a_pair(tmp_path: Path) -> None:
    """Both agree with the status, move with each frame, take no name for markup, speak to no other host, and have
    nothing to complain of. One pair for all of it, as starting one takes longest."""

    async def scenario(site: Site) -> None:
        page = site.page
        async with site.cloud as cloud:
            await cloud.listening()
            async with site.edge as edge:
                await edge.until("plan", lambda: edge.cut == SPLIT, 60)
                edge.offer(site.frames[:5])
                await edge.answered(5, 60)
                await the_edges_page(site, edge)
                await metrics_and_status_agree(site, edge, tmp_path / "cloud")
                await the_clouds_page(site)
            await page.until("document.querySelectorAll('#edges tr').length === 0")
            assert await page.value("!document.getElementById('no-edges').hidden")
            assert page.console == []
            assert {url.split("/")[2] for url in page.requests} == {site.edge_url[7:], site.cloud_url[7:]}

    in_browser(tmp_path, scenario)


async def the_edges_page(site: Site, edge: Edge) -> None:
    """Picture, cut, frames, curves and switches; then a frame more, whose name would be markup."""
    page = site.page
    await page.look(width=1280)
    await page.go(site.edge_url)
    await page.until(LIVE)
    await site.shows_status(site.edge_url)
    facts = await page.value(FACTS)
    assert facts["frames.answered"] == [5, "5"]
    assert facts["plan.cut"] == [SPLIT, SPLIT]

    units = await page.value(
        "[...document.querySelectorAll('#units .unit')].map((u) => u.getAttribute('class'))"
    )
    plan = (await site.status(site.edge_url))["plan"]
    assert sum("edge" in unit for unit in units) == plan["units"]["edge"]
    assert sum("cloud" in unit for unit in units) == plan["units"]["cloud"]
    assert sum("crosses" in unit for unit in units) == len(plan["crossing"]) == 2
    for part in ("head", "link", "tail"):
        assert await page.value(f"document.querySelectorAll('#gantt .part-{part}').length") >= 1, part
    assert await page.value("document.querySelectorAll('.uplot canvas').length") == 2
    causes = await page.value("[...document.querySelectorAll('#switches .badge')].map((b) => b.textContent)")
    assert causes == ["fixed", "start"]

    pairs = await page.value("[...document.querySelectorAll('#source dd')].map((d) => d.textContent)")
    source = (await site.status(site.edge_url))["source"]
    assert pairs[0] == source["name"]
    assert pairs[1].startswith(source["condition"])
    sinks = await page.value("[...document.querySelectorAll('#sinks tr')].map((r) => r.dataset.sink)")
    assert sinks == ["results"]
    assert await page.value("document.querySelector('#sinks .number').textContent") == "5"

    edge.offer([site.evil])
    await page.until("document.querySelector('[data-path=\"frames.answered\"]').dataset.raw === '6'")
    await page.until("document.getElementById('latest').dataset.frame === '5'")
    assert await page.value("document.getElementById('latest-name').textContent") == site.evil.name
    assert await page.value("document.getElementById('picture').naturalWidth") == 40
    top = (await site.status(site.edge_url))["latest"]["top5"][0]
    assert await page.value("document.querySelector('#top5 span').textContent") == top["label"]
    assert await page.value("document.querySelectorAll('main b, main img[src=x]').length") == 0
    await site.shows_status(site.edge_url)
    assert page.console == []


async def the_clouds_page(site: Site) -> None:
    """Its edge stands there with the name that it gave itself, as text."""
    page = site.page
    await page.look(width=1280, dark=True)
    await page.go(site.cloud_url)
    await page.until(LIVE)
    await page.until("document.querySelector('[data-path=\"frames.answered\"]').dataset.raw === '6'")
    assert await page.value("document.querySelector('#edges strong').textContent") == EVIL
    assert await page.value("document.querySelectorAll('main img').length") == 0
    status = await site.status(site.cloud_url)
    (row,) = status["edges"]
    shown = await page.value("[...document.querySelectorAll('#edges td')].map((td) => td.textContent)")
    assert row["name"] in shown[0]
    assert shown[1:3] == [row["address"], row["model"]]
    assert shown[4] == str(row["answered"]) == "6"
    batches = await page.value("document.querySelector('#batches svg').getAttribute('aria-label')")
    told = status["batches"]["frames_by_size"]
    assert batches == ", ".join(f"{frames} frames in batches of {size}" for size, frames in told.items())
    assert sum(told.values()) == 6
    await site.shows_status(site.cloud_url)


async def metrics_and_status_agree(site: Site, edge: Edge, cloud_state: Path) -> None:
    """The equation of frames can be checked from the metrics alone; `status.json` says what `/status` does."""
    edges, clouds = await read_metrics(site.edge_url), await read_metrics(site.cloud_url)
    for daemon, metrics in (("edge", edges), ("cloud", clouds)):
        assert adds_up(daemon, metrics)
    for url, state in ((site.edge_url, edge.state), (site.cloud_url, cloud_state)):
        document = json.loads(await asyncio.to_thread((state / "status.json").read_text))
        assert document.keys() == (await site.status(url)).keys()
    assert edges['cleave_edge_frames_total{outcome="answered"}'] == 6
    assert edges['cleave_edge_stage_seconds_count{stage="head"}'] == 6
    sent = edges['cleave_edge_sent_bytes_total{codec="raw"}']
    assert sent == clouds['cleave_cloud_received_bytes_total{codec="raw"}'] > 0
    assert clouds["cleave_cloud_batch_frames_count"] == 6
    assert clouds['cleave_cloud_frames_total{outcome="answered"}'] == 6


def test_a_page_with_a_token_survives_its_daemon_on_a_phone(tmp_path: Path) -> None:
    """The token is asked for once, also over a restart; killed, the daemon is shown as gone; started again, the page
    goes on by itself, with its numbers, and asks again when the cookie is good no longer. It fits 375 pixels."""
    token = tmp_path / "token"
    token.write_text("correct-horse-battery\n")
    token.chmod(0o600)

    async def scenario(site: Site) -> None:
        page = site.page
        async with site.edge as edge:
            edge.offer(site.frames[:2])
            await edge.answered(2, 60)
            await page.look(width=375, height=800)
            await page.go(site.edge_url)
            assert await page.value("document.querySelector('form.token') !== null")
            page.console.clear()  # the browser complains of the 401 itself
            await page.value("document.getElementById('token').value = 'correct-horse-battery'")
            await page.value("document.querySelector('form').submit()")
            await page.until(LIVE)
            await page.until("document.getElementById('latest').dataset.frame === '1'")
            assert await page.value("document.documentElement.scrollWidth") == 375
            assert await page.value("document.cookie") == "", "scripts cannot read it"
            async with aiohttp.ClientSession() as client:
                for path, status in (("/readyz", 200), ("/status", 401), ("/frame.jpg", 401)):
                    async with client.get(site.edge_url + path) as answer:
                        assert answer.status == status
            assert page.console == []
            edge.send_signal(signal.SIGKILL)
            await edge.wait()
            await page.until("document.body.dataset.state === 'lost'")
            assert "disconnected" in await page.value("document.getElementById('connection').textContent")
        await page.value("window.stillHere = true")
        async with site.another_edge() as edge:
            await page.until(LIVE, 60)
            edge.offer(site.frames[2:5])
            await edge.answered(5, 60)
            await page.until("document.querySelector('[data-path=\"frames.answered\"]').dataset.raw === '3'")
            assert await page.value("window.stillHere"), "it was not loaded again"
            assert [line for line in page.console if "net::ERR_" not in line] == []
            # A cookie that is good no longer: the page finds out when it connects again, and asks.
            await page.call("Network.clearBrowserCookies")
            edge.send_signal(signal.SIGSTOP)
            await page.until("document.body.dataset.state === 'lost'")
            edge.send_signal(signal.SIGCONT)
            await page.until("document.querySelector('form.token') !== null")

    in_browser(tmp_path, scenario, CLEAVE_EDGE_HTTP_TOKEN=token)


async def read_metrics(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as client, client.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    pairs = [line.rpartition(" ") for line in lines if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in pairs}


def adds_up(daemon: str, metrics: dict[str, float]) -> bool:
    """Check that all frames are told of, each once."""
    known = {"edge": ("seen", "now{"), "cloud": ("received", "in_flight")}[daemon]
    whole = metrics[f"cleave_{daemon}_frames_{known[0]}_total"]
    done = sum(value for name, value in metrics.items() if name.startswith(f"cleave_{daemon}_frames_total{{"))
    here = sum(
        value for name, value in metrics.items() if name.startswith(f"cleave_{daemon}_frames_{known[1]}")
    )
    return whole == done + here
