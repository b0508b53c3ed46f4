"""What the libraries and the model of an installation can get wrong, judged from what `runtime_probe` has told."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common.doctor.account import Account
from common.doctor.finding import Finding, fail, ok, warn
from common.profile import ModelFingerprint

OLDEST_TORCH = (2, 10)
PROBE_S = 300.0
"""A weak processor with a large model."""
Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RuntimeFacts:
    """What the probe told of each part, in its words; `ended` is its exit status (negative: a signal)."""

    parts: Mapping[str, Part]
    models: Sequence[Part]
    ended: int
    broke_at: str = ""
    """The part it was at when it ended before its time."""

    def __getitem__(self, part: str) -> Part:
        return self.parts.get(part, {"error": "the probe did not come so far"})

    @property
    def has_gpu(self) -> bool:
        """Whether torch finds a CUDA device, outside of any sandbox."""
        return bool(self["torch"].get("cuda_devices"))

    @property
    def fingerprints(self) -> tuple[ModelFingerprint, ...]:
        """Those of the models that could be loaded."""
        return tuple(
            ModelFingerprint(**model["fingerprint"]) for model in self.models if "fingerprint" in model
        )


def probe_runtime(
    environment: Mapping[str, str], account: Account, models: Sequence[tuple[str, str]]
) -> RuntimeFacts:
    """Run the probe as `account`, with the service's environment. `models` are pairs of name and weights."""
    arguments = [word for pair in models for word in pair]
    with TemporaryDirectory() as scratch:  # torch leaves a directory where temporary files are
        os.chown(scratch, account.uid, -1)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "models.runtime_probe", *arguments],
                env={**environment, "TMPDIR": scratch},
                cwd=Path(
                    __file__
                ).parent.parent,  # our own packages, whatever lies where the command is given
                capture_output=True,
                text=True,
                timeout=PROBE_S,
                check=False,
                **account.credentials,
            )
        except subprocess.TimeoutExpired as late:
            said = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
            return read_probe(said, -signal.SIGALRM)
    return read_probe(done.stdout, done.returncode)


def read_probe(text: str, ended: int) -> RuntimeFacts:
    """Read what the probe has printed. What is no line of it (a library that prints) is passed over."""
    parts: dict[str, Part] = {}
    models: list[Part] = []
    begun = ""
    for line in text.splitlines():
        if not line.startswith('{"part"'):
            continue
        told = json.loads(line)
        if told.get("begins"):
            begun = told["part"]
        elif told["part"] == "model":
            models.append(told)
            begun = ""
        else:
            parts[told["part"]] = told
            begun = ""
    return RuntimeFacts(parts, models, ended, begun if ended != 0 else "")


def check_runtime(facts: RuntimeFacts, *, device: str, executor: str, threads: int) -> list[Finding]:
    """Judge libraries and models, for what the settings say of device, executor and threads."""
    if facts.broke_at:
        return [_check_end(facts)]
    found = [_check_torch(facts, threads)]
    if "error" not in facts["torch"]:
        found += [_check_device(facts, device), _check_torchvision(facts)]
    return [
        *found,
        _check_onnxruntime(facts, executor),
        _check_iperf3(facts),
        *map(_check_model, facts.models),
    ]


def _check_end(facts: RuntimeFacts) -> Finding:
    if facts.ended == -signal.SIGALRM:
        return fail(
            facts.broke_at,
            f"no end within {PROBE_S:.0f} s",
            "see whether the machine is overloaded or its disk fails (dmesg), then try again",
        )
    how = signal.Signals(-facts.ended).name if facts.ended < 0 else f"status {facts.ended}"
    if facts.ended == -signal.SIGKILL:
        return fail(
            facts.broke_at,
            f"the kernel ended the probe ({how}): too little memory",
            "take a smaller model, or add memory",
        )
    if facts.ended in (-signal.SIGILL, -signal.SIGSEGV, -signal.SIGBUS):
        return fail(
            facts.broke_at,
            f"ends the process ({how}): it was built for another processor than this {_processor(facts)}",
            f"/opt/cleave/venv/bin/pip install --force-reinstall {facts.broke_at}, of a build for this processor",
        )
    return fail(facts.broke_at, f"ends the process ({how})", "run the daemon by hand, and read what it says")


def _check_torch(facts: RuntimeFacts, threads: int) -> Finding:
    torch = facts["torch"]
    reinstall = "install Cleave again (make install-…), which brings the torch that constraints.txt names"
    if "error" in torch:
        return fail("torch", f"cannot be imported: {torch['error']}", reinstall)
    if _release(torch["version"]) < OLDEST_TORCH:
        return fail(
            "torch", f"{torch['version']}; {'.'.join(map(str, OLDEST_TORCH))} or later is needed", reinstall
        )
    if not torch["finite"]:
        return fail(
            "torch",
            f"{torch['version']} computes wrong results on this {_processor(facts)}",
            f"{reinstall}; a build for another processor does that",
        )
    cores, used = facts["machine"].get("cores") or 1, torch["threads"]
    said = f"{torch['version']}, {instructions(facts)}, {used} of {cores} cores"
    if _kernels_left_out(facts):
        return warn(
            "torch",
            f"{said}: this processor has {_kernels_left_out(facts)}, which torch does not use",
            "take ATEN_CPU_CAPABILITY out of the environment; under systemd, ProcSubset=pid out of the unit",
        )
    if used == 1 and cores > 1 and threads == 0:
        return warn(
            "torch",
            f"{said}: it may not ask for the others",
            "take OMP_NUM_THREADS out of the environment; under systemd, allow sched_setaffinity as the unit does",
        )
    if facts["machine"].get("architecture") == "x86_64" and "avx2" not in facts["machine"].get(
        "features", ()
    ):
        return warn(
            "torch",
            f"{said}: this processor has no AVX2, and computes several times more slowly than one with it",
            "take a small model (squeezenet1_1, mobilenet_v3_small), and leave the rest to the cloud",
        )
    return ok("torch", said)


def _check_device(facts: RuntimeFacts, device: str) -> Finding:
    build, devices = facts["torch"]["cuda_build"], facts["torch"]["cuda_devices"]
    if devices:
        return ok("device", f"{devices} CUDA device(s), torch is built for CUDA {build}")
    if device != "cuda":
        return ok("device", "the CPU")
    if build is None:
        return fail(
            "device",
            "the settings say cuda, and this torch is built for CPUs only",
            "install again from an index of CUDA builds (docs/install.md), or set the device to auto",
        )
    return fail(
        "device",
        f"the settings say cuda; torch is built for CUDA {build} and finds no device",
        "nvidia-smi must show one (install the driver); the unit allows it after make install-… VARIANTS=nvidia",
    )


def _check_torchvision(facts: RuntimeFacts) -> Finding:
    found = facts["torchvision"]
    both = "/opt/cleave/venv/bin/pip install --force-reinstall torchvision, from where torch came from"
    if "error" in found:
        return fail("torchvision", f"cannot be imported: {found['error']}", both)
    if not found["operators"]:
        return warn(
            "torchvision",
            f"{found['version']}: its compiled operators do not load beside this torch; classifiers do without them, "
            "detection models do not",
            both,
        )
    return ok("torchvision", f"{found['version']}, with its operators")


def _check_onnxruntime(facts: RuntimeFacts, executor: str) -> Finding:
    found = facts["onnxruntime"]
    if "error" not in found:
        return ok("onnxruntime", str(found["version"]))
    install = "/opt/cleave/venv/bin/pip install onnxruntime onnx onnxscript"
    said = f"not there ({found['error']})"
    if executor == "onnxruntime":
        return fail(
            "onnxruntime", f"{said}, and the settings ask for it", f"{install}, or set the executor to auto"
        )
    if executor == "torch":
        return ok("onnxruntime", f"{said}, nor asked for")
    return warn("onnxruntime", f"{said}; it is often up to twice as fast as torch on a CPU", install)


def _check_iperf3(facts: RuntimeFacts) -> Finding:
    found = facts["iperf3"]
    if "error" in found:
        return warn(
            "iperf3",
            f"libiperf cannot be used ({found['error']}): the bandwidth is measured by pings",
            "apt-get install libiperf0",
        )
    return ok("iperf3", str(found["version"]))


def _check_model(model: Part) -> Finding:
    if "error" in model:
        cause = str(model["error"]).removeprefix("ConfigurationError: ")
        return fail(
            "model",
            cause,
            "correct CLEAVE_MODEL or CLEAVE_WEIGHTS as it says; PYTHONPATH for a model of your own",
        )
    named = f"{model['name']} with weights {model['weights']}"
    if "to_download" in model:
        return warn(
            "model",
            f"{named}: they are not here yet, the first start downloads them",
            f"without internet, bring the file to {model['to_download']}",
        )
    if str(model["weights"]).startswith("random:"):
        return warn(
            "model", f"{named}: random weights, so its answers mean nothing", "set CLEAVE_WEIGHTS=default"
        )
    return ok("model", f"{named}, {model['units']} units")


def instructions(facts: RuntimeFacts) -> str:
    """Say which of the processor's vector instructions torch uses."""
    if facts["machine"].get("architecture") in ("aarch64", "arm64"):
        used = facts["torch"]["cpu"]
        return used if used.startswith("SVE") else "NEON"
    return str(facts["torch"]["cpu"])


def _kernels_left_out(facts: RuntimeFacts) -> str:
    """Name the vector instructions that the processor has and torch could use but does not."""
    features, used = facts["machine"].get("features", ()), facts["torch"]["cpu"]
    if (
        facts["machine"].get("architecture") == "x86_64"
        and "avx2" in features
        and used not in ("AVX2", "AVX512")
    ):
        return "AVX2"
    return ""


def _processor(facts: RuntimeFacts) -> str:
    machine = facts["machine"]
    features = " ".join(machine.get("features", ())) or "no vector instructions"
    return f"{machine.get('architecture', 'one')} ({features})"


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
