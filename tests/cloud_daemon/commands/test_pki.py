"""Facts about `cleave-cloud pki`, as a person uses it."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest

from cloud_daemon import __main__ as command
from common.tls.certificates import TlsFiles
from common.tls.contexts import cloud_context, edge_context


@pytest.fixture
def pki(monkeypatch: pytest.MonkeyPatch) -> Pki:
    return Pki(monkeypatch)


class Pki:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: object) -> int:
        self._monkeypatch.setattr(sys, "argv", ["cleave-cloud", "pki", *map(str, arguments)])
        return command.main()


def test_three_commands_make_a_pair_that_trusts_each_other(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """init, one issue for each machine, and they shake hands; each command says which setting takes its directory."""
    home, rack, edge = tmp_path / "pki", tmp_path / "rack", tmp_path / "edge"
    assert pki("init", "--dir", home) == 0
    assert pki("issue", "rack", "--cloud", "--host", "127.0.0.1", "--out", rack, "--dir", home) == 0
    assert pki("issue", "edge-01", "--out", edge, "--dir", home) == 0
    said = capsys.readouterr().out
    assert f"CLEAVE_CLOUD_TLS={rack}" in said
    assert f"CLEAVE_EDGE_TLS={edge}" in said

    async def shake() -> str:
        names: list[str] = []

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            names.append(writer.get_extra_info("peercert")["subject"][0][0][1])
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=cloud_context(TlsFiles(rack, "")))
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=edge_context(TlsFiles(edge, ""))
        )
        await reader.read()
        writer.close()
        server.close()
        return names[0]

    assert asyncio.run(shake()) == "edge-01"


def test_nothing_is_overwritten_but_what_is_asked_for(
    pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second init, a second issue: one line and status 2; --replace renews."""
    home, edge = tmp_path / "pki", tmp_path / "edge"
    pki("init", "--dir", home)
    pki("issue", "edge-01", "--out", edge, "--dir", home, "--days", 10)
    capsys.readouterr()
    for again in (("init", "--dir", home), ("issue", "edge-01", "--out", edge, "--dir", home)):
        assert pki(*again) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "is there already, and is not overwritten" in error
    assert pki("issue", "edge-01", "--out", edge, "--dir", home, "--replace") == 0
    assert pki("show", edge) == 0
    shown = capsys.readouterr().out.splitlines()[-1]
    assert shown.startswith("edge edge-01: valid, until ")
    assert ", 365 days, issued by " in shown


def test_what_is_wrong_is_one_line(pki: Pki, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No authority, no such directory, no days."""
    assert pki("issue", "edge-01", "--out", tmp_path / "edge", "--dir", tmp_path / "none") == 2
    assert pki("show", tmp_path) == 2
    with pytest.raises(SystemExit):
        pki("init", "--dir", tmp_path / "x", "--days", "0")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert "cleave-cloud pki init" in lines[0]
    assert "cert.pem is missing" in lines[1]
    assert "'0' is not a number of days above 0" in lines[2]
    assert not (tmp_path / "edge").exists()


def test_help_names_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the daemon's own settings; and a word that is no command is told."""
    monkeypatch.setattr(sys, "argv", ["cleave-cloud", "--help"])
    assert command.main() == 0
    assert re.search(r"  pki +make a private authority", capsys.readouterr().out)
    monkeypatch.setattr(sys, "argv", ["cleave-cloud", "pkk"])
    assert command.main() == 2
    assert "did you mean pki?" in capsys.readouterr().err
