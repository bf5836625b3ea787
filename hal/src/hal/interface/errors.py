"""Every error HAL raises, in two families: the caller's mistakes and the world's failures.

A caller's mistake (`CallerError`) was detected before anything was changed, or leaves the group usable; mending the
call mends it. A failure of the world (`WorldError`) means that this group of ranks can no longer communicate as it
is. Both carry the rank that raised, the peer concerned and the operation, where these are known.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HalError(Exception):
    """The base of all HAL errors.

    `rank` is the rank that raises, `peer` the rank it concerns and `operation` what was being done; each is None
    where it does not apply. They are appended to the message, so that a line in a log suffices.
    """

    def __init__(
        self, message: str, *, rank: int | None = None, peer: int | None = None, operation: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rank = rank
        self.peer = peer
        self.operation = operation

    def __str__(self) -> str:
        where = [
            f"{name} {value}"
            for name, value in (("rank", self.rank), ("peer", self.peer), ("in", self.operation))
            if value is not None
        ]
        return f"{self.message} [{', '.join(where)}]" if where else self.message


class CallerError(HalError):
    """The call, the configuration or the plan is wrong. Nothing was changed; mend it and call again."""


class UsageError(CallerError, ValueError):
    """Arguments that cannot be used, or ranks that disagree on what they call."""


class ConfigError(CallerError, ValueError):
    """A configuration value that is unknown or not allowed; the message names file, line, key and what is allowed."""


class PlanError(CallerError, ValueError):
    """A plan that is malformed: an index, a range or a reference that does not exist."""


class NotSupported(CallerError, NotImplementedError):  # noqa: N818 -- the established name of this error in the spec
    """A capability that this device or transport does not declare was asked for."""


class WorldError(HalError, RuntimeError):
    """The machine, the network or another rank failed. The group it concerns cannot go on as it is."""


class BackendUnavailable(WorldError):  # noqa: N818 -- as above
    """A backend is installed but cannot work here; the message says what is missing and how to get it."""


class TransportError(WorldError):
    """Data could not be delivered: a connection, a registration or the rendezvous failed."""


class PeerFailure(WorldError):  # noqa: N818 -- as above
    """Another rank of the group died or left; `peer` names it."""


class StallTimeout(WorldError, TimeoutError):  # noqa: N818 -- as above
    """A deadline passed while waiting for other ranks. The message is the stall report.

    It says for each rank and block at which instruction it stands, the channel, the peer, and the count expected and
    seen. Every rank of the group raises it, whichever rank's deadline passed first.
    """


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name most like `name`, for «did you mean …?»; None where none is near."""
    found = difflib.get_close_matches(name.lower(), list(allowed), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown_name(kind: str, name: object, allowed: Iterable[str]) -> str:
    """The one sentence for an unknown name: what it is, what is allowed, and the nearest valid one."""
    names = list(allowed)
    hint = nearest(str(name), names)
    return f"unknown {kind} {str(name)!r}: allowed are {', '.join(names)}" + (
        f"; did you mean {hint!r}?" if hint else ""
    )
