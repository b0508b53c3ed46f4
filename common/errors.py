"""Every error Cleave raises on purpose, by whose fault it is.

CleaveError
├── ConfigurationError      the operator's: a setting, a path, a missing package (exit 78, no restart)
│   └── ModelMismatchError  the two sides hold different models
├── ModelError              the model cannot be traced, cut or loaded
├── PlanError               a cut or a plan that is not legal
├── HungError               the machine: a computation that does not end (the daemon ends, for a restart)
├── RunCancelledError       nobody's: a computation was ended before its time, for nobody waits for it
├── FrameError              this frame is at fault (a truncated JPEG); the run goes on
├── SourceError             a camera, a stream or a video gives no frames: tried again, or the end of a video
└── LinkError               the network or the peer
    ├── LocalProtocolError  this side was about to break the protocol: a bug here
    ├── RemoteProtocolError the peer broke the protocol: its connection is closed
    ├── LinkLostError       the connection is gone, or silent past its deadline: retry
    └── ProbeError          the bandwidth could not be measured this time
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

EXIT_CONFIGURATION = 78
"""Exit status for what only the operator can mend (EX_CONFIG); systemd must not restart on it."""

Failure = TypeVar("Failure", bound=Exception)


class CleaveError(Exception):
    """The root of all errors raised on purpose."""


class ConfigurationError(CleaveError):
    """A setting, a path or an installed package is wrong; only the operator can mend it."""


class ModelMismatchError(ConfigurationError):
    """Edge and cloud hold different models; the message shows both fingerprints."""


class ModelError(CleaveError):
    """A model that cannot be loaded, traced or cut (exit 78: it cannot the next time, either)."""


class PlanError(CleaveError):
    """A cut or plan that is not legal for its graph."""


class HungError(CleaveError):
    """A computation does not come to its end: a driver, or the machine. Only a new process helps."""


class RunCancelledError(CleaveError):
    """A computation was ended, since nobody wants its result any more."""


class FrameError(CleaveError):
    """One frame cannot be processed (it is no image, say); other frames are not concerned."""


class SourceError(CleaveError):
    """A camera, a stream or a video gives no frames; the message says why, without secrets."""


class LinkError(CleaveError):
    """The network, or the machine at its other end. `kind` is what such errors are counted as."""

    kind: ClassVar[str] = "other"


class LocalProtocolError(LinkError):
    """This side asked its own connection for something the protocol forbids now."""


class RemoteProtocolError(LinkError):
    """The peer sent something the protocol forbids; its connection is closed."""

    kind = "protocol"


class LinkLostError(LinkError):
    """The connection is closed, or silent past its deadline."""

    kind = "lost"


class ProbeError(LinkError):
    """A bandwidth measurement did not come off; the message says why."""


def without_frames(error: Failure) -> Failure:
    """Return an error that is a value from now on: without the frames it came through, and what they held.

    In a list that one of these frames knows it would keep them all, and itself, until the collector comes.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None
    return error
