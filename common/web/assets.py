"""The files a page is made of, read once from the installed packages. No path from a request reaches the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

KINDS: Mapping[str, str] = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file's content, what it is, and a tag that changes with it."""

    body: bytes
    kind: str
    tag: str


def load_assets(*packages: str) -> dict[str, Asset]:
    """Return the files in the directories `page` and `page/uplot` of packages, by their names.

    A later package's file takes the place of an earlier one's of the same name.
    """
    found: dict[str, Asset] = {}
    for package in packages:
        page = resources.files(package) / "page"
        for directory in (page, page / "uplot"):
            if not directory.is_dir():
                continue
            for file in directory.iterdir():
                kind = KINDS.get(file.name[file.name.rfind(".") :])
                if kind is not None:
                    body = file.read_bytes()
                    found[file.name] = Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found


def version_of(assets: Mapping[str, Asset]) -> str:
    """Return a tag of all files together: a page that was loaded from others loads itself again."""
    tags = "".join(f"{name}{asset.tag}" for name, asset in sorted(assets.items()))
    return hashlib.sha256(tags.encode()).hexdigest()[:16]
