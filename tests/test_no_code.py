"""Nothing that arrives can become code: what unpickles, evaluates or imports by name is not in the product.

Read from the sources. Whatever does import by a name it is given is listed here, with where that name comes from.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("common", "models", "edge_daemon", "cloud_daemon")
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "code",
    "yaml",
}
CALLS = {"eval", "exec", "compile", "__import__"}
LOADS_BY_NAME = {
    "common/commands.py": "a command of a fixed table",
    "models/torchvision_shim.py": "torchvision, and nothing else",
    "models/zoo.py": "CLEAVE_MODEL, which the operator sets; never what a peer says",
}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def offences(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what could turn bytes into code, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        for name in names:
            if name.partition(".")[0] in MODULES:
                yield getattr(node, "lineno", 0), f"imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in CALLS:
            yield node.lineno, f"calls {called}"
        keywords = {keyword.arg: keyword.value for keyword in node.keywords}
        weights_only = isinstance(only := keywords.get("weights_only"), ast.Constant) and only.value is True
        if called in ("torch.load", "torch.hub.load", "load_state_dict_from_url") and not weights_only:
            yield node.lineno, f"calls {called} without weights_only=True"
        if called.endswith(".get_state_dict") and not weights_only:
            yield node.lineno, f"calls {called} without weights_only=True"
        if called.endswith(("np.load", "numpy.load")) and "allow_pickle" in keywords:
            yield node.lineno, f"calls {called} with pickles"
        if called.endswith(("unpackb", "Unpacker")):
            hooks = {ast.unparse(keywords[hook]) for hook in ("object_hook", "ext_hook") if hook in keywords}
            if hooks - {"_no_extension"}:  # which refuses
                yield node.lineno, f"calls {called} with a hook"


def test_nothing_unpickles_evaluates_or_loads_code() -> None:
    """In none of the packages that run on either machine."""
    found = [f"{path}:{line} {what}" for path, tree in trees() for line, what in offences(tree)]
    assert found == []


def test_modules_are_named_by_the_operator_only() -> None:
    """`importlib.import_module` is where the table above says, and nowhere else."""
    users = {
        path
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func)
    }
    assert users == set(LOADS_BY_NAME)


def test_the_channel_reaches_no_loader() -> None:
    """Nothing of the wire imports what loads models or weights."""
    for path in sorted((ROOT / "common" / "wire").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").partition(".")[0] not in (
                    "models",
                    "torch",
                    "safetensors",
                    "importlib",
                )


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "weights.get_state_dict(check_hash=True)",
        "np.load(path, allow_pickle=True)",
        "msgpack.unpackb(data, ext_hook=f)",
    ],
)
def test_the_scan_sees_what_it_is_to_find(source: str) -> None:
    """One offence in each."""
    assert len(list(offences(ast.parse(source)))) == 1
