"""The page of a daemon: may it be served where the settings say?"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from common.config import OFF, Address
from common.doctor.finding import Finding, fail, ok
from common.doctor.ports import check_port, look_at_port
from common.errors import ConfigurationError
from common.web.gate import Gate


def check_page(
    role: Literal["edge", "cloud"],
    listen: Address | Literal["off"],
    token_file: Path | None,
    setting: str,
    service_pid: int,
) -> Finding:
    """Judge the address that `setting` names, and the token that it needs."""
    if listen == OFF:
        return ok("page", f"{setting}=off: none, and no metrics")
    try:
        Gate.of(role, listen, token_file, setting)
    except ConfigurationError as error:
        said, _, cure = str(error).partition(". Either ")
        return fail(
            "page", said, f"either {cure}" if cure else "openssl rand -hex 24 > FILE, readable for root only"
        )
    return check_port("page", look_at_port(setting, listen, service_pid))
