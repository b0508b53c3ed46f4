"""Facts about settings: read from the environment and flags, all errors at once, and written out again."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import (
    Address,
    AddressOrOffSetting,
    AddressSetting,
    PathSetting,
    Settings,
    is_loopback,
    setting,
)
from common.errors import ConfigurationError


class SampleSettings(Settings):
    own_prefix: ClassVar[str] = "CLEAVE_EDGE_"
    foreign_prefix: ClassVar[str] = "CLEAVE_CLOUD_"

    model: str = setting("MODEL", help="which model")
    source: PathSetting = setting("EDGE_SOURCE", "/frames", help="where images are")
    cloud: AddressSetting = setting("EDGE_CLOUD", Address(host="127.0.0.1", port=7400), help="where to")
    fps: float = setting("EDGE_FPS", 0.0, ge=0, help="how often")
    lanes: int = setting("EDGE_LANES", 2, ge=1, le=4, help="how many")
    plan: Literal["auto", "fixed"] = setting("EDGE_PLAN", "auto", help="how")
    name: str = setting("EDGE_NAME", "", help="who")


MODEL = {"CLEAVE_MODEL": "tiny"}


def load(*arguments: str, **environ: str) -> SampleSettings:
    return SampleSettings.load({**MODEL, **{f"CLEAVE_{name}": v for name, v in environ.items()}}, arguments)


def complaints(*arguments: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        load(*arguments, **environ)
    return str(error.value).splitlines()


def test_defaults_hold_where_nothing_is_set() -> None:
    """Only what is required must be given."""
    settings = load()
    assert (settings.model, settings.fps, settings.lanes, settings.plan) == ("tiny", 0.0, 2, "auto")
    assert settings.source == Path("/frames"), "defaults are of the field's type"
    assert str(settings.cloud) == "127.0.0.1:7400"


def test_variables_are_read_as_their_types() -> None:
    """Text from the environment becomes numbers, paths and addresses."""
    settings = load(EDGE_FPS="2.5", EDGE_LANES="4", EDGE_SOURCE="/a", EDGE_CLOUD="rack:1", EDGE_PLAN="fixed")
    assert (settings.fps, settings.lanes, settings.plan) == (2.5, 4, "fixed")
    assert settings.source == Path("/a")
    assert settings.cloud == Address(host="rack", port=1)


def test_paths_are_absolute_wherever_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path means the directory the daemon was started in, and ~ the home."""
    monkeypatch.setenv("HOME", "/home/me")
    assert load(EDGE_SOURCE="frames").source == Path.cwd() / "frames"
    assert load(EDGE_SOURCE="~/frames").source == Path("/home/me/frames")


def test_a_home_that_nobody_has_is_refused() -> None:
    """`~typo` is no path; which one was meant nobody can say."""
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_SOURCE.*no home directory for '~nobody-here'"):
        load(EDGE_SOURCE="~nobody-here/frames")


def test_flags_override_variables() -> None:
    """A flag has the variable's name less its prefix; both forms of giving a value mean the same."""
    assert load("--fps", "3", EDGE_FPS="2").fps == 3
    assert load("--fps=3", EDGE_FPS="2").fps == 3
    assert load("--model", "other").model == "other"
    assert load("--fps", "3", "--fps", "4").fps == 4, "the last one counts"
    assert complaints("--fps", "-1") == [
        "CLEAVE_EDGE_FPS=-1: input should be greater than or equal to 0 (valid: number ≥ 0)"
    ]


def test_an_empty_value_is_the_default() -> None:
    """An environment file may list a variable without a value; a flag may so undo a variable."""
    assert load(EDGE_LANES="").lanes == 2
    assert load("--lanes=", EDGE_LANES="3").lanes == 2
    assert complaints(MODEL="") == ["CLEAVE_MODEL: is required (valid: text)"]


def test_all_errors_are_reported_together_with_the_valid_values() -> None:
    """Nobody has to start a daemon five times to learn of five mistakes."""
    found = complaints(
        "--plam",
        "x",
        MODEL="",
        EDGE_FPS="fast",
        EDGE_LANES="9",
        EDGE_PLAN="best",
        EDGE_CLOUD="rack",
        EDGE_LANS="1",
    )
    assert sorted(found) == sorted(
        [
            "CLEAVE_EDGE_LANS: no such setting; did you mean CLEAVE_EDGE_LANES or CLEAVE_EDGE_PLAN?",
            "--plam: no such flag; did you mean --plan?",
            "CLEAVE_MODEL: is required (valid: text)",
            "CLEAVE_EDGE_CLOUD=rack: not of the form host:port, with a port from 0 to 65535 (valid: host:port)",
            "CLEAVE_EDGE_FPS=fast: input should be a valid number, unable to parse string as a number "
            "(valid: number ≥ 0)",
            "CLEAVE_EDGE_LANES=9: input should be less than or equal to 4 (valid: whole number ≥ 1 ≤ 4)",
            "CLEAVE_EDGE_PLAN=best: input should be 'auto' or 'fixed' (valid: auto, fixed)",
        ]
    )


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-0.5", "two"])
def test_a_number_is_finite_and_in_range(value: str) -> None:
    """What would only fail later, inside the daemon, fails here."""
    assert len(complaints(EDGE_FPS=value)) == 1


@pytest.mark.parametrize("value", ["1.5", "0", "5", "true", "1e0"])
def test_a_whole_number_is_whole_and_in_range(value: str) -> None:
    """No number is rounded or cut to fit."""
    assert len(complaints(EDGE_LANES=value)) == 1


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("CLEAVE_EDGE_LANE", "; did you mean CLEAVE_EDGE_LANES"),
        ("CLEAVE_MODLE", "; did you mean CLEAVE_MODEL?"),
        ("CLEAVE_EDGE_QQQQQQQQQQ", ""),
        ("CLEAVE_", ""),
    ],
)
def test_an_unknown_variable_of_ours_is_refused(variable: str, hint: str) -> None:
    """A typo in a name does not silently leave the default in force; the nearest name is told."""
    with pytest.raises(ConfigurationError, match=f"{variable}: no such setting{hint.replace('?', '[?]')}"):
        SampleSettings.load({**MODEL, variable: "1"})


def test_other_peoples_variables_are_left_alone() -> None:
    """The other daemon's variables and everybody else's are not looked at: one file may serve both."""
    environ = {
        **MODEL,
        "CLEAVE_CLOUD_LISTEN": "?",
        "CLEAVE_CLOUD_NONSENSE": "1",
        "PATH": "/bin",
        "cleave_x": "1",
    }
    assert SampleSettings.load(environ) == load()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--lanes"], "--lanes: needs a value"),
        (["lanes"], "lanes: no such flag"),
        (["--unknown-thing", "5"], "--unknown-thing: no such flag"),
        (["--unknown-thing=5"], "--unknown-thing: no such flag"),
        (["--lane", "5"], "--lane: no such flag; did you mean --lanes"),
        (["--listen", "x:1"], "--listen: no such flag"),
    ],
)
def test_unknown_and_valueless_flags_are_refused(arguments: list[str], complaint: str) -> None:
    """One mistake in the flags is one complaint; its value is not taken for another flag."""
    found = complaints(*arguments)
    assert len(found) == 1
    assert found[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("rack:7400", "rack", 7400), ("10.0.0.1:0", "10.0.0.1", 0), ("[::1]:65535", "::1", 65535)],
)
def test_addresses_are_read_and_written_alike(text: str, host: str, port: int) -> None:
    """Names, IPv4 and IPv6 in brackets, each written as it is read."""
    address = Address.parse(text)
    assert address == Address(host=host, port=port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["rack", ":7400", "rack:", "rack:x", "rack:65536", "rack:-1", "", "rack:7 4"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """A host and a port from 0 to 65535, both there."""
    with pytest.raises(ValueError, match="host:port"):
        Address.parse(text)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "EDGE_FPS": st.floats(0, 1e6).map(str),
            "EDGE_LANES": st.integers(1, 4).map(str),
            "EDGE_PLAN": st.sampled_from(["auto", "fixed"]),
            "EDGE_CLOUD": st.sampled_from(["a:1", "[::1]:2"]),
            "EDGE_SOURCE": st.sampled_from(["/a b", "relative", "~"]),
        },
    )
)
def test_settings_in_force_can_be_read_back(environ: dict[str, str]) -> None:
    """What `as_environment` writes is an environment file with the same meaning."""
    settings = load(**environ)
    lines = settings.as_environment().splitlines()
    again = SampleSettings.load(dict(line.split("=", 1) for line in lines))
    assert again == settings
    assert len(lines) == len(SampleSettings.model_fields)


def test_reference_and_help_list_every_setting() -> None:
    """Each setting is documented by its declaration: name, flag, values, default and meaning."""
    rows = SampleSettings.reference().splitlines()[2:]
    assert rows == [
        "| `CLEAVE_MODEL` | `--model` | text | required | which model |",
        "| `CLEAVE_EDGE_SOURCE` | `--source` | path | `/frames` | where images are |",
        "| `CLEAVE_EDGE_CLOUD` | `--cloud` | host:port | `127.0.0.1:7400` | where to |",
        "| `CLEAVE_EDGE_FPS` | `--fps` | number ≥ 0 | `0.0` | how often |",
        "| `CLEAVE_EDGE_LANES` | `--lanes` | whole number ≥ 1 ≤ 4 | `2` | how many |",
        "| `CLEAVE_EDGE_PLAN` | `--plan` | `auto`, `fixed` | `auto` | how |",
        "| `CLEAVE_EDGE_NAME` | `--name` | text | `none` | who |",
    ]
    for field in SampleSettings.model_fields.values():
        assert f"{SampleSettings.flag(str(field.alias))} " in SampleSettings.help()
        assert str(field.description) in SampleSettings.help()


def test_settings_cannot_be_changed() -> None:
    """What was validated stays in force."""
    with pytest.raises((ValueError, dataclasses.FrozenInstanceError)):
        load().fps = 3  # type: ignore[misc]


def test_an_address_may_be_turned_off() -> None:
    """`off` where an address may be one; what is in force is printed so that it is read back."""
    for value in ("off", "127.0.0.1:80", "[::1]:80"):
        settings = ListenSettings.load({"CLEAVE_EDGE_HTTP": value})
        assert str(settings.http) == value
        assert settings.as_environment() == f"CLEAVE_EDGE_HTTP={value}\n"
    with pytest.raises(ConfigurationError, match=r"CLEAVE_EDGE_HTTP=never: .*host:port.*`?off`?"):
        ListenSettings.load({"CLEAVE_EDGE_HTTP": "never"})


class ListenSettings(Settings):
    own_prefix: ClassVar[str] = "CLEAVE_EDGE_"
    foreign_prefix: ClassVar[str] = "CLEAVE_CLOUD_"
    http: AddressOrOffSetting = setting("EDGE_HTTP", "off", values="host:port, `off`", help="where")


def test_only_addresses_and_one_name_are_known_to_be_loopback() -> None:
    """What another name resolves to can change."""
    assert is_loopback("LOCALHOST")
    assert not is_loopback("localhost.example")
