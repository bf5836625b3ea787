"""The table as a file, and what it gains as text."""

from __future__ import annotations

import datetime
import math
import platform
from collections.abc import Sequence

from hal.config import AlgorithmRule
from hal_collectives.selection import SelectionTable
from hal_collectives.tune.decide import Gain


def as_yaml(table: SelectionTable, command: str) -> str:
    """The table in the form that `selection_table` of the configuration names."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [
        f"# Which algorithm a call uses, as `{command}` measured it on {when}",
        f"# on {platform.node() or 'a machine without a name'} ({platform.machine()}, {platform.system()}).",
        "# Of each collective the first rule counts that fits the call and whose algorithm can serve it.",
    ]
    for label, rules in table.rules.items():
        lines += ["", f"{label}:", *(f"  - {{{_rule(rule)}}}" for rule in rules)]
    return "\n".join(lines) + "\n"


def gains(found: Sequence[Gain], before: str) -> str:
    """What changes, a line each, and the whole in one sentence. `before` names the table in force."""
    changed = [gain for gain in found if gain.after != gain.before and gain.before in gain.timing.microseconds]
    lines = [_line(gain) for gain in changed]
    mean = math.exp(sum(math.log(g.ratio) for g in changed) / len(changed)) if changed else 1.0
    what = f"{mean:.2f} times as fast there, as a geometric mean" if changed else "nothing to gain"
    lines.append(f"{len(changed)} of {len(found)} measured cases change against {before}: {what}")
    return "\n".join(lines)


def _rule(rule: AlgorithmRule) -> str:
    parts = [f"algorithm: {rule.algorithm}"]
    if rule.max_bytes is not None:
        parts.append(f"max_bytes: {rule.max_bytes}")
    if rule.ranks is not None:
        parts.append(f"ranks: [{', '.join(map(str, rule.ranks))}]")
    if rule.in_place:
        parts.append("in_place: true")
    return ", ".join(parts)


def _line(gain: Gain) -> str:
    timing, memory = gain.timing, "mapped" if gain.timing.mapped else "plain"
    before, after = (timing.microseconds[name] for name in (gain.before, gain.after))
    return (
        f"{timing.collective}, {timing.ranks} ranks, {timing.nbytes} B, {memory}: {gain.before} {before:.4g} µs,"
        f" {gain.after} {after:.4g} µs ({gain.ratio:.2f} times as fast)"
    )
