"""A Debian with its own booted systemd, in a container: a place where an installation may be tried and broken.

The root is made by debootstrap, once, and kept under `var/`; each container gets a copy. It has no network but its
own loopback: packages come from a directory that pip filled outside, read-only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TREE = Path(__file__).parent.parent.parent
KEPT = TREE / "var" / "installed"
SUITE = "bookworm"
PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3", "python3-venv", "libiperf0", "make", "procps")
EXTRAS = ("camera", "mqtt", "onnx")
"""What the installation takes of the optional parts, where nothing else is said (systemd/install.sh)."""
PYTHON = "3.11"
"""What this Debian's python3 is: the packages are downloaded for it."""
NEEDED = ("debootstrap", "systemd-nspawn", "nsenter")
BOOT_S = 300.0
POWEROFF_S = 60.0
"""Limits, for a machine that is busy otherwise: both take seconds."""


def why_not() -> str | None:
    """Say why no container can run on this machine; none if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux can boot a container"
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} missing: apt-get install debootstrap systemd-container util-linux"
    if sys.version_info[:2] != (3, 11):
        return f"packages are downloaded for Debian {SUITE}'s Python {PYTHON}, and this is {sys.version.split()[0]}"
    return None


def debian_root() -> Path:
    """Return a Debian root that nobody has touched; it takes two minutes to make, the first time."""
    digest = hashlib.sha256(" ".join((SUITE, *PACKAGES)).encode()).hexdigest()[:12]
    root = KEPT / f"debian-{digest}"
    if not root.exists():
        making = root.with_suffix(".making")
        shutil.rmtree(making, ignore_errors=True)
        making.parent.mkdir(parents=True, exist_ok=True)
        _call(
            "debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(making), timeout_s=900
        )  # fmt: skip
        making.rename(root)
    return root


def wheels() -> Path:
    """Return a directory with every package that an installation takes, as the constraints pin them."""
    project = tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["build-system"]["requires"],
        "wheel",  # what pip builds old-style packages with
        *project["project"]["dependencies"],
        *(wanted for extra in EXTRAS for wanted in project["project"]["optional-dependencies"][extra]),
    ]
    constraints = TREE / "constraints.txt"
    digest = hashlib.sha256("\n".join([*wanted, constraints.read_text()]).encode()).hexdigest()[:12]
    directory = KEPT / f"wheels-{digest}"
    if not directory.exists():
        making = directory.with_suffix(".making")
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "-c", str(constraints), "-d", str(making))
        # torch alone first, as the installation does: the pinned build, and no other that something asks for.
        _call(*pip, "torch", timeout_s=1800)
        _call(*pip, "--find-links", str(making), *wanted, timeout_s=900)
        making.rename(directory)
    return directory


class Container:
    """A running container; `run` runs a command in it as root."""

    def __init__(self, root: Path, leader: int) -> None:
        self.root = root
        self._leader = leader

    def run(
        self, command: str, *, timeout_s: float = 60.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command; with `check` a status other than 0 is an error that shows what was said."""
        done = subprocess.run(
            [
                *(
                    "nsenter",
                    "--target",
                    str(self._leader),
                    "--mount",
                    "--uts",
                    "--ipc",
                    "--net",
                    "--pid",
                    "--",
                ),
                *("/usr/bin/env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                *(
                    "HOME=/root",
                    "LANG=C.UTF-8",
                    "SYSTEMD_COLORS=0",
                    "SYSTEMD_PAGER=cat",
                    "/bin/sh",
                    "-c",
                    command,
                ),
            ],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def says(self, command: str, timeout_s: float = 60.0) -> str:
        """Return what a command prints."""
        return self.run(command, timeout_s=timeout_s).stdout.strip()

    def unit(self, service: str, name: str) -> str:
        """Return a property of a unit, as systemd tells it."""
        return self.says(f"systemctl show --value --property {name} {service}")

    def journal(self, service: str) -> str:
        """Return what a service has logged."""
        return self.says(f"journalctl --no-pager --output cat --unit {service}")


@contextmanager
def booted(root: Path, read_only: Mapping[Path, str]) -> Iterator[Container]:
    """Boot a copy of `root`, with directories of this machine mounted read-only; power it off and remove it after."""
    log = root.with_suffix(".log")
    with log.open("w") as output:
        nspawn = subprocess.Popen(
            [
                *("systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--private-network", "--quiet"),
                *("--machine", "installed", "--directory", str(root)),
                *(f"--bind-ro={path}:{place}" for path, place in read_only.items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        container = Container(root, _leader(nspawn, log))
        _wait_until_booted(container, log)
        yield container
    finally:
        nspawn.send_signal(signal.SIGTERM)  # it tells the container's systemd to power off
        try:
            nspawn.wait(POWEROFF_S)
        except subprocess.TimeoutExpired:
            nspawn.kill()  # the kernel ends all processes of the container with its first one
            nspawn.wait()


def _leader(nspawn: subprocess.Popen[bytes], log: Path) -> int:
    """Return the id of the container's first process, as this machine counts."""
    children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
    deadline = time.monotonic() + BOOT_S
    while time.monotonic() < deadline:
        if nspawn.poll() is not None:
            raise AssertionError(f"systemd-nspawn ended with {nspawn.returncode}:\n{log.read_text()}")
        for child in map(int, children.read_text().split()):
            if _is_first(child):
                return child
        time.sleep(0.05)
    raise AssertionError("systemd-nspawn started nothing")


def _is_first(pid: int) -> bool:
    """Say whether a process is number 1 in its own namespace; at first nspawn has children that only prepare."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return len(numbers) > 2 and numbers[-1] == "1" and "\nName:\tsystemd\n" in f"\n{status}"


def _wait_until_booted(container: Container, log: Path) -> None:
    deadline, state = time.monotonic() + BOOT_S, ""
    while time.monotonic() < deadline:
        told = container.run("systemctl is-system-running", check=False)
        state = told.stdout.strip() or told.stderr.strip()
        if state in ("running", "degraded"):
            return
        time.sleep(0.2)
    raise AssertionError(f"systemd has not booted within {BOOT_S:g} s, it is {state!r}:\n{log.read_text()}")


def _call(*command: str, timeout_s: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
