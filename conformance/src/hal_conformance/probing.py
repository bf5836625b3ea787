"""What the backend says of itself, asked for in a worker, since asking may load a driver."""

from __future__ import annotations

from typing import Any

from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable
from hal_conformance import unwritten
from hal_conformance.rank import Rank
from hal_conformance.results import Subject


def describe(rank: Rank) -> Subject:
    """The subject of this run; `BackendUnavailable` where the backend does not work here.

    One that lacks what this needs, since it is not written yet, is tested as what it declares to be.
    """
    backend = rank.backend
    probe = backend.probe()
    problems = tuple(f"{problem.what} ({problem.remedy})" for problem in probe.problems)
    if not probe.available and not any(map(unwritten.sentence, problems)):
        why = "; ".join(problems) or "it does not say why"
        raise BackendUnavailable(f"backend {backend.name!r} does not work here: {why}")
    capabilities: set[Capability] = set()
    device = ", ".join(probe.devices)
    properties: dict[str, Any] = {"devices": list(probe.devices)}
    try:
        if "device" in backend.info.facets:
            capabilities |= set(rank.capabilities)  # whatever it is kept in: a test says what that has to be
            told = rank.device.properties
            device = told.name
            properties |= {"memory": int(told.memory), "compute_units": int(told.compute_units)}
            properties["details"] = {str(key): str(value) for key, value in told.details.items()}
        if "transport" in backend.info.facets:
            transport = backend.open_transport(rank.settings)
            capabilities |= set(transport.capabilities)
            transport.close()
    except Exception as error:
        if probe.available and not unwritten.said_by(error):
            raise
        capabilities |= set(backend.info.capabilities)
    return Subject(
        backend=backend.name,
        distribution=backend.distribution,
        version=backend.version,
        facets=tuple(backend.info.facets),
        capabilities=tuple(sorted(one.value for one in capabilities)),
        device=device or "a device that does not open yet",
        module=module_of(backend.name),
        interface=backend.interface_version,
        properties=properties,
        problems=problems,
    )


def module_of(backend: str) -> str:
    """The plug-in module of a backend, from metadata alone."""
    from hal.plugins import installed

    return next((one.entry_point.module for one in installed() if one.name == backend), "")
