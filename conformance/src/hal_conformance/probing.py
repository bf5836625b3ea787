"""What the backend says of itself, asked for in a worker, since asking may load a driver."""

from __future__ import annotations

from hal.interface.capability import Capability
from hal.interface.errors import BackendUnavailable
from hal_conformance.rank import Rank
from hal_conformance.results import Subject


def describe(rank: Rank) -> Subject:
    """The subject of this run; `BackendUnavailable` where the backend does not work here."""
    backend = rank.backend
    probe = backend.probe()
    if not probe.available:
        problems = "; ".join(f"{problem.what} ({problem.remedy})" for problem in probe.problems)
        raise BackendUnavailable(f"backend {backend.name!r} does not work here: {problems or 'it does not say why'}")
    capabilities: set[Capability] = set()
    device = ", ".join(probe.devices)
    if "device" in backend.info.facets:
        capabilities |= rank.capabilities
        device = rank.device.properties.name
    if "transport" in backend.info.facets:
        transport = backend.open_transport(rank.settings)
        capabilities |= transport.capabilities
        transport.close()
    return Subject(
        backend=backend.name,
        distribution=backend.distribution,
        version=backend.version,
        facets=tuple(backend.info.facets),
        capabilities=tuple(sorted(one.value for one in capabilities)),
        device=device,
        module=module_of(backend.name),
    )


def module_of(backend: str) -> str:
    """The plug-in module of a backend, from metadata alone."""
    from hal.plugins import installed

    return next((one.entry_point.module for one in installed() if one.name == backend), "")
