"""Facts about judging what an installation stands on, from what the probe tells."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from common.doctor.account import own_account
from common.doctor.finding import Verdict
from common.profile import ModelFingerprint
from models.runtime_findings import RuntimeFacts, check_runtime, probe_runtime, read_probe
from tests.models.test_runtime_probe import environment

DIGEST = "0" * 64
HEALTHY: dict[str, dict[str, Any]] = {
    "machine": {"architecture": "x86_64", "features": ["avx", "avx2"], "cores": 4},
    "torch": {
        "version": "2.13.0+cpu",
        "cpu": "AVX2",
        "threads": 4,
        "cuda_build": None,
        "cuda_devices": 0,
        "finite": True,
    },
    "torchvision": {"version": "0.28.0", "operators": True},
    "onnxruntime": {"version": "1.31.1"},
    "iperf3": {"version": "iperf 3.12"},
}
MODEL = {
    "name": "resnet18",
    "weights": "default",
    "units": 50,
    "fingerprint": {"architecture": DIGEST, "weights": DIGEST, "graph": DIGEST},
}


def facts(model: dict[str, Any] | None = None, **parts: dict[str, Any]) -> RuntimeFacts:
    """Healthy facts, with `parts` changed: an `error` replaces what was there."""
    changed = {
        name: parts[name] if "error" in parts.get(name, {}) else found | parts.get(name, {})
        for name, found in HEALTHY.items()
    }
    return RuntimeFacts(changed, [MODEL if model is None else model], 0)


def judged(found: RuntimeFacts, **settings: Any) -> list[tuple[str, str, str, str]]:
    """What is not well: what, verdict, what was said, cure."""
    asked: dict[str, Any] = {"device": "auto", "executor": "auto", "threads": 0} | settings
    return [
        (finding.what, finding.verdict, finding.said, finding.cure)
        for finding in check_runtime(found, **asked)
        if finding.verdict is not Verdict.OK
    ]


def test_a_healthy_installation_is_healthy() -> None:
    """On x86 and on a Raspberry Pi, with a GPU and without."""
    assert judged(facts()) == []
    pi = facts(machine={"architecture": "aarch64", "features": ["asimd"]}, torch={"cpu": "DEFAULT"})
    assert judged(pi) == []
    assert "NEON, 4 of 4 cores" in check_runtime(pi, device="auto", executor="auto", threads=0)[0].said
    assert judged(facts(torch={"cuda_build": "13.0", "cuda_devices": 1}), device="cuda") == []
    assert facts().fingerprints == (ModelFingerprint(DIGEST, DIGEST, DIGEST),)


@pytest.mark.parametrize(
    ("parts", "settings", "what", "verdict", "said", "cure"),
    [
        ({"torch": {"error": "No module named 'torch'"}}, {}, "torch", "fail", "No module", "make install-"),
        ({"torch": {"version": "2.4.1"}}, {}, "torch", "fail", "2.10 or later", "make install-"),
        ({"torch": {"finite": False}}, {}, "torch", "fail", "wrong results", "another processor"),
        ({"torch": {"cpu": "DEFAULT"}}, {}, "torch", "warn", "has AVX2", "ATEN_CPU_CAPABILITY"),
        ({"torch": {"threads": 1}}, {}, "torch", "warn", "1 of 4 cores", "sched_setaffinity"),
        ({"machine": {"features": []}}, {}, "torch", "warn", "no AVX2", "squeezenet1_1"),
        ({}, {"device": "cuda"}, "device", "fail", "built for CPUs only", "CUDA builds"),
        (
            {"torch": {"cuda_build": "13.0"}},
            {"device": "cuda"},
            "device",
            "fail",
            "finds no device",
            "VARIANTS=nvidia",
        ),
        (
            {"torchvision": {"error": "gone"}},
            {},
            "torchvision",
            "fail",
            "gone",
            "force-reinstall torchvision",
        ),
        ({"torchvision": {"operators": False}}, {}, "torchvision", "warn", "do not load", "force-reinstall"),
        ({"onnxruntime": {"error": "gone"}}, {}, "onnxruntime", "warn", "gone", "pip install onnxruntime"),
        (
            {"onnxruntime": {"error": "gone"}},
            {"executor": "onnxruntime"},
            "onnxruntime",
            "fail",
            "ask for it",
            "executor to auto",
        ),
        ({"iperf3": {"error": "libiperf"}}, {}, "iperf3", "warn", "by pings", "apt-get install libiperf0"),
    ],
)
def test_each_fault_is_found_with_its_cure(
    parts: dict[str, Any], settings: dict[str, Any], what: str, verdict: str, said: str, cure: str
) -> None:
    """One at a time; nothing else is complained of."""
    (bad,) = judged(facts(**parts), **settings)
    assert bad[:2] == (what, verdict)
    assert said in bad[2]
    assert cure in bad[3]


@pytest.mark.parametrize(
    ("model", "verdict", "said", "cure"),
    [
        ({"error": "ConfigurationError: no such file"}, "fail", "no such file", "CLEAVE_WEIGHTS"),
        (
            {"name": "resnet18", "weights": "default", "to_download": "/x/resnet18.pth"},
            "warn",
            "not here yet",
            "/x/resnet18.pth",
        ),
        (MODEL | {"weights": "random:0"}, "warn", "mean nothing", "CLEAVE_WEIGHTS=default"),
    ],
)
def test_models_have_faults_of_their_own(model: dict[str, Any], verdict: str, said: str, cure: str) -> None:
    """One that cannot be loaded, one that is still to come, one whose answers mean nothing."""
    (bad,) = judged(facts(model))
    assert bad[:2] == ("model", verdict)
    assert said in bad[2]
    assert cure in bad[3]


@pytest.mark.parametrize(
    ("ended", "said", "cure"),
    [
        (-signal.SIGILL, "built for another processor", "force-reinstall torch"),
        (-signal.SIGKILL, "too little memory", "smaller model"),
        (-signal.SIGALRM, "no end within", "overloaded"),
        (3, "status 3", "by hand"),
    ],
)
def test_a_library_that_ends_the_process_is_named(ended: int, said: str, cure: str) -> None:
    """What raises nothing is known by how far the probe came."""
    text = '{"part": "machine", "architecture": "x86_64"}\n{"part": "torch", "begins": true}\n'
    (bad,) = judged(read_probe(text, ended))
    assert bad[:2] == ("torch", "fail")
    assert said in bad[2]
    assert cure in bad[3]


def test_what_libraries_print_is_no_part_of_the_probe() -> None:
    """Nor does a user's model confuse it."""
    lines = [
        "hello",
        json.dumps({"part": "torch", "begins": True}),
        "{ nonsense",
        json.dumps({"part": "torch", "x": 1}),
    ]
    found = read_probe("\n".join(lines), 0)
    assert found["torch"] == {"part": "torch", "x": 1}
    assert "error" in found["iperf3"]


def test_the_probe_is_run_with_the_services_environment() -> None:
    """A variable that slows torch down is seen by it, and found."""
    found = probe_runtime(
        environment() | {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
        own_account(),
        [("tests.tiny_model:factory", "random:3"), ("no.such:model", "default")],
    )
    assert found.ended == 0
    assert found["torch"]["threads"] == 1
    assert len(found.fingerprints) == 1
    said = " ".join(bad[2] for bad in judged(found))
    assert "cannot import 'no.such'" in said
