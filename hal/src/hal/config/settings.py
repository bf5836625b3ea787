"""The settings every installation has: one attrs class for each group, each setting with its kind, default and purpose.

A backend adds its own group the same way: an attrs class whose fields are made with `setting`, returned from its hook
`hal_settings`.
"""

from __future__ import annotations

from typing import Any

import attrs

from hal.config import kinds
from hal.config.algorithms import AlgorithmRule, algorithm_choice
from hal.interface.errors import UsageError, unknown_name

METADATA = "hal"


@attrs.frozen
class About:
    """What is known of a setting beside its value; kept in its attrs metadata."""

    doc: str
    default: str
    kind: kinds.Kind[Any]


def setting(default: object, kind: kinds.Kind[Any], doc: str) -> Any:
    """One field of a settings class: its default as a user would write it, its kind, and one sentence of purpose.

    A default of None makes the setting optional.
    """
    converter = attrs.converters.optional(kind) if default is None else kind
    shown = "none" if default is None else str(default)
    return attrs.field(default=default, converter=converter, metadata={METADATA: About(doc, shown, kind)})


@attrs.frozen(kw_only=True)
class General:
    """The settings at the top level of `hal.yaml`."""

    backend: str = setting("host", kinds.backend_name(), "Plug-in name of the backend.")
    timeout: float = setting("30s", kinds.duration(), "Deadline of every blocking call.")
    verify: str = setting(
        "always", kinds.choice("always", "never"), "Whether plans are proven right before their first run."
    )
    log_level: str = setting(
        "warning", kinds.choice("debug", "info", "warning", "error"), "Least severe log messages that are shown."
    )
    trace: str | None = setting(
        None, kinds.output_file(), "File to record in what each rank executes; %r stands for the rank."
    )
    host_id: str | None = setting(
        None,
        kinds.word("a host's name"),
        "Name of this rank's host; ranks of the same name share memory; none: the machine's own.",
    )
    transports: tuple[str, ...] = setting(
        "tcp", kinds.backend_names(), "Transports that may reach ranks on other hosts, the most wanted first."
    )
    selection_table: str | None = setting(
        None, kinds.input_file(), "Table of the algorithms that calls use, as `hal tune` writes it; else HAL's own."
    )


@attrs.frozen(kw_only=True)
class Bootstrap:
    """How the ranks of a job find each other."""

    timeout: float = setting("60s", kinds.duration(), "Deadline for all ranks to have joined.")


def _pin(collective: str) -> Any:
    return setting(None, algorithm_choice(), f"Algorithm of {collective}, or rules; else the selection table's choice.")


@attrs.frozen(kw_only=True)
class Algorithms:
    """The algorithms a user pins, by collective; None where the choice is left to the selection table."""

    all_reduce: tuple[AlgorithmRule, ...] | None = _pin("all_reduce")
    all_gather: tuple[AlgorithmRule, ...] | None = _pin("all_gather")
    reduce_scatter: tuple[AlgorithmRule, ...] | None = _pin("reduce_scatter")
    broadcast: tuple[AlgorithmRule, ...] | None = _pin("broadcast")
    reduce: tuple[AlgorithmRule, ...] | None = _pin("reduce")
    gather: tuple[AlgorithmRule, ...] | None = _pin("gather")
    scatter: tuple[AlgorithmRule, ...] | None = _pin("scatter")
    all_to_all: tuple[AlgorithmRule, ...] | None = _pin("all_to_all")
    send_recv: tuple[AlgorithmRule, ...] | None = _pin("send_recv")
    barrier: tuple[AlgorithmRule, ...] | None = _pin("barrier")

    def pinned(self, collective: str, nbytes: int, ranks: int) -> str | None:
        """The algorithm pinned for a call of `nbytes` bytes on `ranks` ranks, or the plan file: of the first rule that
        fits.

        None where nothing is pinned or no rule fits; `UsageError` for a collective that does not exist.
        """
        names = [field.name for field in attrs.fields(Algorithms)]
        if collective not in names:
            raise UsageError(unknown_name("collective", collective, names))
        rules: tuple[AlgorithmRule, ...] = getattr(self, collective) or ()
        return next((rule.name for rule in rules if rule.fits(nbytes, ranks)), None)


@attrs.frozen
class NoSettings:
    """The group of a backend that has no settings."""
