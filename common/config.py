"""Settings: environment variables (and flags of the same names) into a frozen, typed value.

A daemon's settings are one pydantic model whose fields carry `CLEAVE_…` names and descriptions. All errors are
found before any is reported, unknown variables are refused, and the reference page is written from the fields.
"""

from __future__ import annotations

import difflib
import ipaddress
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from common.errors import ConfigurationError
from common.hidden import hide_secrets

PREFIX = "CLEAVE_"


def setting(
    name: str,
    default: Any = ...,
    *,
    help: str,
    values: str | None = None,
    hidden: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a field set by the variable `CLEAVE_<name>`; `constraints` are pydantic's (`ge`, `gt`, …).

    `values` says in words what is valid, where type and constraints do not. A `hidden` value may hold a secret, and
    no complaint shows it.
    """
    extra: dict[str, Any] = ({"values": values} if values else {}) | ({"hidden": True} if hidden else {})
    return Field(
        default, alias=PREFIX + name, description=help, json_schema_extra=extra or None, **constraints
    )


class Address(BaseModel):
    """A host and a TCP port, written `host:port` (`[::1]:7400` for IPv6)."""

    model_config = ConfigDict(frozen=True)
    host: str
    port: int = Field(ge=0, le=65535)

    @classmethod
    def parse(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("not of the form host:port, with a port from 0 to 65535")
        return cls(host=host.strip("[]"), port=int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


AddressSetting = Annotated[Address, BeforeValidator(Address.parse)]
OFF: Literal["off"] = "off"
AddressOrOffSetting = Annotated[
    Address | Literal["off"],
    BeforeValidator(lambda value: OFF if value == OFF else Address.parse(value)),
]


def is_loopback(host: str) -> bool:
    """Say whether an address or name is reached from this machine only; of other names nobody can say."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def absolute(path: Path) -> Path:
    """Return an absolute path, `~` and `~name` replaced. Raises `ValueError` where nobody has that home."""
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        whose = path.parts[0]
        raise ValueError(
            f"{path}: there is no home directory for {whose!r}; write the path in full"
        ) from None


PathSetting = Annotated[Path, AfterValidator(absolute)]


class Settings(BaseModel):
    """Base of a daemon's settings. `own_prefix` is the part of the variables that belongs to it alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)
    own_prefix: ClassVar[str]
    foreign_prefix: ClassVar[str]
    """Variables of the other daemon; both may run on one machine with one environment file."""

    @classmethod
    def load(cls, environ: Mapping[str, str], arguments: Sequence[str] = ()) -> Self:
        """Read the settings from `environ`, overridden by flags (`--sampling-fps 5`, `--sampling-fps=5`).

        Raises `ConfigurationError` with a line for every error, and the valid values.
        """
        problems: list[str] = []
        values: dict[str, str] = {}
        names = {str(field.alias) for field in cls.model_fields.values()}
        for variable, value in environ.items():
            if not variable.startswith(PREFIX) or variable.startswith(cls.foreign_prefix):
                continue
            if variable in names:
                values[variable] = value
            else:
                problems.append(f"{variable}: no such setting{_nearest(variable, names)}")
        flags = {cls.flag(name): name for name in names}
        values.update(_read_flags(arguments, flags, problems))
        values = {name: value for name, value in values.items() if value != ""}  # empty: the default
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems += [_explain(cls, details) for details in error.errors()]
        if problems:
            raise ConfigurationError("\n".join(problems))
        return settings

    @classmethod
    def flag(cls, variable: str) -> str:
        """Return the flag of a variable: `CLEAVE_EDGE_SAMPLING_FPS` → `--sampling-fps`."""
        prefix = cls.own_prefix if variable.startswith(cls.own_prefix) else PREFIX
        return "--" + variable.removeprefix(prefix).lower().replace("_", "-")

    def as_environment(self) -> str:
        """Return the settings in force as lines `NAME=value`, as an environment file has them."""
        lines = []
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            lines.append(f"{field.alias}={'' if value is None else value}")
        return "\n".join(lines) + "\n"

    @classmethod
    def help(cls) -> str:
        """Return the settings as text for a terminal."""
        lines = []
        for field in cls.model_fields.values():
            default = "required" if field.is_required() else f"default {_default(field)}"
            lines.append(f"  {cls.flag(str(field.alias))}  {_values(field).replace('`', '')}  ({default})")
            lines += textwrap.wrap(
                f"{field.description}".replace("`", ""), 92, initial_indent=" " * 8, subsequent_indent=" " * 8
            )
        return "\n".join(lines)

    @classmethod
    def reference(cls) -> str:
        """Return the settings as a Markdown table."""
        rows = ["| variable | flag | values | default | meaning |", "|---|---|---|---|---|"]
        for field in cls.model_fields.values():
            default = "required" if field.is_required() else f"`{_default(field)}`"
            rows.append(
                f"| `{field.alias}` | `{cls.flag(str(field.alias))}` | {_values(field)} | {default} "
                f"| {field.description} |"
            )
        return "\n".join(rows) + "\n"


def _read_flags(arguments: Sequence[str], flags: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        flag, equals, value = rest.pop(0).partition("=")
        if flag not in flags:
            problems.append(f"{flag}: no such flag{_nearest(flag, flags)}")
            if not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
        elif equals:
            values[flags[flag]] = value
        elif rest:
            values[flags[flag]] = rest.pop(0)
        else:
            problems.append(f"{flag}: needs a value")
    return values


def _nearest(name: str, known: Mapping[str, str] | set[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _explain(cls: type[Settings], details: Mapping[str, Any]) -> str:
    alias = str(details["loc"][0])
    if details["type"] == "missing":
        return f"{alias}: is required ({_describe(cls, alias)})"
    message = str(details["msg"]).removeprefix("Value error, ")
    if details["type"] == "string_pattern_mismatch":
        message = "has none of the valid forms"
    field = next(f for f in cls.model_fields.values() if f.alias == alias)
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    shown = "…" if extra.get("hidden") else hide_secrets(str(details["input"]))
    return f"{alias}={shown}: {message[0].lower() + message[1:]} ({_describe(cls, alias)})"


def _describe(cls: type[Settings], alias: str) -> str:
    field = next(f for f in cls.model_fields.values() if f.alias == alias)
    return f"valid: {_values(field)}".replace("`", "")


_NAMES: Mapping[Any, str] = {int: "whole number", float: "number", bool: "1 or 0", Path: "path", str: "text"}


def _default(field: FieldInfo) -> str:
    return "none" if field.default in (None, "") else str(field.default)


def _values(field: FieldInfo) -> str:
    if isinstance(field.json_schema_extra, dict) and "values" in field.json_schema_extra:
        return str(field.json_schema_extra["values"])
    annotation = field.annotation
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if getattr(rule, name, None) is not None
    ]
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if annotation is Address:
        return "host:port"
    shape: Callable[..., str] = lambda kind: _NAMES.get(kind, "text")  # noqa: E731
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)] or [annotation]
    return " ".join([shape(kinds[0]), *bounds])
