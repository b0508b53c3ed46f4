"""Who may see a daemon's page: whoever is on this machine, or whoever knows a token. Decisions on plain values.

without a token   only names of this machine are answered to: a foreign web page whose name somebody has
                  pointed at 127.0.0.1 (DNS rebinding) is not
with one          by `Authorization: Bearer TOKEN`, or by the cookie that the page gets for it once
"""

from __future__ import annotations

import hashlib
import hmac
import stat
from dataclasses import dataclass, field
from pathlib import Path

from common.config import Address, is_loopback
from common.errors import ConfigurationError

LEAST_TOKEN_CHARS = 16
"""Security: shorter ones can be guessed."""
MOST_TOKEN_CHARS = 512


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets requests to the page of `daemon` in, or not. `token`: none is needed on this machine."""

    daemon: str
    token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, daemon: str, listen: Address, token_file: Path | None, setting: str) -> Gate:
        """Make the gate that the settings ask for; `setting` is the variable of the address.

        Raises `ConfigurationError` for an address beyond this machine without a token, and for a token that is no
        secret.
        """
        if token_file is not None:
            return cls(daemon, read_token(token_file, f"{setting}_TOKEN"))
        if not is_loopback(listen.host):
            raise ConfigurationError(
                f"{setting}={listen} without {setting}_TOKEN: everybody who can reach this address could see "
                "the frames and the answers. Either put a secret into a file (`openssl rand -hex 24 > FILE; "
                f"chmod 600 FILE`) and set {setting}_TOKEN=FILE, or listen on 127.0.0.1 and come by `ssh -L`"
            )
        return cls(daemon)

    @property
    def cookie_name(self) -> str:
        """Cookies are the host's, whatever the port: each daemon has its own."""
        return f"cleave-{self.daemon}"

    @property
    def cookie(self) -> str:
        """What the cookie holds: nothing that would let its finder learn the token."""
        assert self.token is not None
        return hmac.new(self.token.encode(), b"the page's cookie", hashlib.sha256).hexdigest()

    def knows_token(self, given: str) -> bool:
        """Compare in constant time."""
        return self.token is not None and _equal(self.token, given)

    def lets_in(self, *, host: str, authorization: str, cookie: str) -> bool:
        """Say whether a request with these headers may see everything."""
        if self.token is None:
            return names_this_machine(host)
        given = bearer_token(authorization)
        return (given is not None and self.knows_token(given)) or _equal(self.cookie, cookie)


def bearer_token(authorization: str) -> str | None:
    """Return the token that an Authorization header gives; none if it gives none."""
    scheme, _, given = authorization.partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def _equal(known: str, given: str) -> bool:
    """Compare what is ours with what came, in constant time; the latter may have been bytes that are no text."""
    return hmac.compare_digest(known.encode(), given.encode(errors="surrogatepass"))


def names_this_machine(host: str) -> bool:
    """Say whether a request's Host header (`localhost:7480`, `[::1]:7480`) is a name of this machine only."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    return is_loopback(name.strip("[]"))


def read_token(path: Path, setting: str) -> str:
    """Read a token's file. Raises `ConfigurationError` for one that is missing, open to all, or too short."""

    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{setting}={path}: {what}")

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise wrong(f"cannot be read: {reason}") from error
    if mode & stat.S_IRWXO:
        raise wrong(f"may be read by anybody (mode {mode:04o}): chmod 600 {path}")
    if not LEAST_TOKEN_CHARS <= len(text) <= MOST_TOKEN_CHARS or not text.isascii() or not text.isprintable():
        raise wrong(
            f"a token has {LEAST_TOKEN_CHARS} to {MOST_TOKEN_CHARS} printable ASCII characters, this one has "
            f"{len(text)}; `openssl rand -hex 24` makes one"
        )
    return text
