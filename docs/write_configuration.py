"""Write docs/configuration.md from the daemons' settings.

python docs/write_configuration.py          write the page
python docs/write_configuration.py --check  say whether it is up to date
"""

from __future__ import annotations

import sys
from pathlib import Path

from cloud_daemon.config import CloudSettings
from edge_daemon.config import EdgeSettings

PAGE = Path(__file__).with_name("configuration.md")


def page() -> str:
    """Return the page's text."""
    return f"""# Configuration

<!-- Written by `make docs` from the settings themselves; do not edit. -->

Settings are environment variables. Each has a flag of the same name that overrides it:
`CLEAVE_EDGE_SAMPLING_FPS=5` is `--sampling-fps 5`. An empty variable counts as not set.

All mistakes are reported together, with the valid values, and the daemon exits with status 78.
A variable that starts with `CLEAVE_` and is no setting is a mistake too; each daemon leaves the other's alone.
`cleave-edge --print-config` and `cleave-cloud --print-config` show what is in force.

## cleave-edge

{EdgeSettings.reference()}
## cleave-cloud

{CloudSettings.reference()}"""


def main() -> int:
    if "--check" in sys.argv[1:]:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        if not current:
            print("docs/configuration.md is not up to date: run `make docs`", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
