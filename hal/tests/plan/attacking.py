"""What tests of plans that deceive the verifier share: verdicts, and the outcomes of many schedules."""

import numpy as np

from hal.interface.errors import PlanError
from hal.plan import PlanBuilder
from hal.plan.verify import verify
from hal.reference import run

UNIT = 256


def codes(plan):
    return {finding.code for finding in verify(plan).findings}


def outcomes(plan, count, seeds=40, dtype=np.int32, **options):
    """The outputs of all launches under random schedules, and the errors, as texts."""
    blocks = [rank.input_chunks // plan.split for rank in plan.ranks]
    inputs = [(np.arange(count * n) % 997 + 1000 * (1 + r)).astype(dtype) for r, n in enumerate(blocks)]
    found = set()
    for seed in range(seeds):
        try:
            result = run(plan, inputs, count=count, schedule=seed, max_pieces=3, launches=3, **options)
        except (PlanError, ValueError) as error:
            found.add(type(error).__name__)
        else:
            found |= {b"".join(o.tobytes() for o in outputs) for outputs in result.launches}
    return found


def is_right(plan, *counts, **options):
    """Proven, and all schedules agree."""
    report = verify(plan)
    assert report.ok, str(report)
    for count in counts:
        found = outcomes(plan, count, seeds=8, **options)
        assert len(found) == 1
        assert b"" not in found or count == 0


def is_wrong(plan, *expected):
    assert codes(plan) == set(expected), str(verify(plan))


def pair(collective="broadcast", **options):
    options.setdefault("root", 0 if collective == "broadcast" else None)
    p = PlanBuilder(collective, name="attack", ranks=2, in_place=False, **options)
    return (p, *p.ranks)
