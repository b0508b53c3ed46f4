"""A machine on which both daemons are installed, by `make`, as docs/install.md says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.installed.container import TREE, Container, booted, debian_root, wheels, why_not

INSTALL_S = 900.0


@pytest.fixture(scope="session")
def machine() -> Iterator[Container]:
    """A booted Debian with both daemons installed and none started. What is done to it stays done."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    pristine, packages = debian_root(), wheels()
    scratch = Path(tempfile.mkdtemp(prefix="installed-", dir=pristine.parent))
    try:
        root = scratch / "root"
        shutil.copytree(pristine, root, symlinks=True, ignore=shutil.ignore_patterns("dev"))
        (root / "dev").mkdir()
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
        with booted(root, {TREE: "/src", packages: "/packages"}) as container:
            make(container, "install-cloud")
            make(container, "install-edge")
            yield container
    finally:
        shutil.rmtree(scratch)


def make(container: Container, target: str, *settings: str) -> str:
    """Run make in the container, as its administrator would; packages come from the mounted directory."""
    command = f"cd /src && PIP_NO_INDEX=1 PIP_FIND_LINKS=/packages make {target} {' '.join(settings)}"
    return container.says(command, timeout_s=INSTALL_S)
