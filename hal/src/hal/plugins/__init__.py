"""Backends as plug-ins: their hooks, their discovery, and what keeps one that is broken from disturbing the rest."""

from hal.plugins.backend import Backend, BrokenBackend
from hal.plugins.description import BackendInfo, Facet, Probe, Problem
from hal.plugins.entry_points import Installed
from hal.plugins.hookspecs import hookimpl
from hal.plugins.registry import Registry, discover, installed
from hal.plugins.version import INTERFACE_VERSION

__all__ = [
    "INTERFACE_VERSION",
    "Backend",
    "BackendInfo",
    "BrokenBackend",
    "Facet",
    "Installed",
    "Probe",
    "Problem",
    "Registry",
    "discover",
    "hookimpl",
    "installed",
]
