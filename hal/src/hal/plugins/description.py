"""What a backend says about itself: its name and facets, and what a probe of this machine found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import attrs
from attrs import validators

from hal.interface.capability import Capability

Facet = Literal["device", "transport"]
FACETS: tuple[Facet, ...] = get_args(Facet)


def _tuple(values: Any) -> tuple[Any, ...]:
    if isinstance(values, str):  # its letters would pass for a sequence of texts
        raise TypeError(f"a sequence is needed, not the text {values!r}")
    return tuple(values)


_texts = validators.deep_iterable(validators.instance_of(str))


@attrs.frozen
class BackendInfo:
    """A backend's name (that of its entry point), one line about it, and the facets it offers.

    `capabilities` are those that its devices and transports have on every machine; what depends on the machine is
    known when one is opened.
    """

    name: str = attrs.field(validator=validators.instance_of(str))
    summary: str = attrs.field(validator=validators.instance_of(str))
    facets: Sequence[Facet] = attrs.field(
        converter=_tuple, validator=[validators.min_len(1), validators.deep_iterable(validators.in_(FACETS))]
    )
    capabilities: Sequence[Capability] = attrs.field(
        default=(), converter=_tuple, validator=validators.deep_iterable(validators.instance_of(Capability))
    )


@attrs.frozen
class Problem:
    """Something that keeps a backend from working here, and what the user can do about it."""

    what: str = attrs.field(validator=validators.instance_of(str))
    remedy: str = attrs.field(validator=validators.instance_of(str))


@attrs.frozen
class Probe:
    """What a backend found on this machine.

    `available` says whether it can be opened, `devices` names each device by index (for a transport, each port).
    Problems may be present on an available backend too: they then are what makes it slower or less capable.
    """

    available: bool = attrs.field(validator=validators.instance_of(bool))
    devices: Sequence[str] = attrs.field(default=(), converter=_tuple, validator=_texts)
    problems: Sequence[Problem] = attrs.field(
        default=(), converter=_tuple, validator=validators.deep_iterable(validators.instance_of(Problem))
    )
