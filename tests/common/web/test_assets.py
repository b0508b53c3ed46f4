"""Facts about a page's files: they are the packages' own, and all that a page asks for is there."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from common.web.assets import load_assets, version_of

PAGES = {"edge": load_assets("common.web", "edge_daemon"), "cloud": load_assets("common.web", "cloud_daemon")}


@pytest.mark.parametrize("daemon", PAGES)
def test_a_page_finds_all_its_files(daemon: str) -> None:
    """What HTML and scripts refer to is served; nothing is dangling."""
    assets = PAGES[daemon]
    assert {"page.html", "token.html", "icon.svg", "uPlot.iife.min.js", "uPlot.min.css"} <= set(assets)
    for name, asset in assets.items():
        if name.startswith("uPlot"):
            continue
        for found in re.findall(r"/assets/([\w.-]+)|\"\./([\w.-]+)\"", asset.body.decode()):
            assert "".join(found) in assets, f"{name} refers to {found}"


@pytest.mark.parametrize("daemon", PAGES)
def test_a_page_needs_no_other_host_and_no_inline_script(daemon: str) -> None:
    """It works without the internet, and under a policy that runs nothing but its own files."""
    for name, asset in PAGES[daemon].items():
        text = asset.body.decode()
        if not name.startswith("uPlot"):
            elsewhere = set(re.findall(r"https?://[^\"'\s)]+", text)) - {"http://www.w3.org/2000/svg"}
            assert elsewhere == set(), name
            assert "innerHTML" not in text, f"{name}: text from strangers is never markup"
        if name.endswith(".html"):
            assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style", text), name


def test_the_version_changes_with_any_file() -> None:
    """A page that was loaded before an upgrade learns that it is old."""
    assets = PAGES["edge"]
    changed = {**assets, "page.css": assets["icon.svg"]}
    assert version_of(assets) == version_of(dict(reversed(assets.items()))) != version_of(changed)


def test_the_charts_come_with_their_licence() -> None:
    """uPlot's licence text lies beside it."""
    licence = (resources.files("common.web") / "page" / "uplot" / "LICENSE").read_text()
    assert "MIT License" in licence
    assert b"uPlot (v1.6.32)" in PAGES["edge"]["uPlot.iife.min.js"].body[:80]
