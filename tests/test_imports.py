"""Facts about who imports whom, read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "common": {"common"},
    "models": {"models", "common"},
    "edge_daemon": {"edge_daemon", "models", "common"},
    "cloud_daemon": {"cloud_daemon", "models", "common"},
}
"""edge_daemon, cloud_daemon → models → common: never back, never edge ↔ cloud."""
OUTSIDE = {"benchmarks", "tests"}
"""What no package may import."""
IMPURE = {
    "asyncio",
    "socket",
    "selectors",
    "ssl",
    "threading",
    "subprocess",
    "torch",
    "torchvision",
    "uvloop",
}
PURE = (
    "common/graph.py",
    "common/plan.py",
    "common/profile.py",
    "common/limits.py",
    "common/errors.py",
    "common/quantities.py",
    "common/partition",
    "common/wire",
)
"""Modules of `common` that decide and describe, and so know neither event loop nor sockets nor tensors."""
SHELLS = {"common/wire/transport.py", "common/wire/confirmed_bytes.py", "common/wire/socket_pace.py"}


def sources(under: str) -> list[Path]:
    path = ROOT / under
    return [path] if path.suffix == ".py" else sorted(path.rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every module that a file imports, wherever in it, and for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""


def reached(start: Path) -> set[Path]:
    """All our own files that importing `start` imports, directly or not."""
    found: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        for _, name in imported(path):
            file = ROOT / Path(*name.split(".")).with_suffix(".py")
            if file.exists():
                waiting.append(file)
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_go_one_way(package: str) -> None:
    """A package imports itself and what lies below it, and never what only tests and benchmarks may."""
    forbidden = (set(MAY_IMPORT) | OUTSIDE) - MAY_IMPORT[package]
    files = sources(package)
    assert len(files) > 3
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for line, name in imported(path)
        if name.partition(".")[0] in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize("under", PURE)
def test_pure_modules_know_no_loop_no_socket_and_no_torch(under: str) -> None:
    """Neither a pure module nor anything of ours that it imports, however far, knows I/O or tensors."""
    files = [path for path in sources(under) if str(path.relative_to(ROOT)) not in SHELLS]
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} reaches {found.relative_to(ROOT)}:{line}, which imports {name}"
        for path in files
        for found in sorted(reached(path))
        for line, name in imported(found)
        if name.partition(".")[0] in IMPURE
    ]
    assert wrong == []


def test_the_check_sees_what_it_is_to_find() -> None:
    """The shell around the connection does import asyncio, and the reader of imports finds it."""
    shell = ROOT / "common/wire/transport.py"
    assert {"asyncio", "socket"} <= {name for _, name in imported(shell)}
    assert ROOT / "common/wire/connection.py" in reached(shell)


@pytest.mark.parametrize("module", ["edge_daemon/__main__.py", "cloud_daemon/__main__.py"])
def test_printing_the_settings_needs_no_torch(module: str) -> None:
    """What a command imports before it has read its settings is quick to import."""
    top = ast.parse((ROOT / module).read_text(encoding="utf-8")).body
    names = [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
    files = [ROOT / Path(*name.split(".")).with_suffix(".py") for name in names]
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for file in files
        if file.exists()
        for path in reached(file)
        for _, name in imported(path)
        if name.partition(".")[0] in {"torch", "torchvision", "scipy", "models"}
    ]
    assert wrong == []
