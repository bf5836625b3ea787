"""Plans run with counts that differ between ranks: their layouts, what comes out, and what is said of them."""

import itertools

import numpy as np

from hal.interface.errors import PlanError
from hal.plan import PlanBuilder
from hal.plan.collective import Collective
from hal.plan.findings import Code
from hal.plan.layout import Layout
from hal.plan.verify import verify
from hal.reference import run


def builder(collective="all_gather", ranks=2, **options):
    options.setdefault("in_place", False)
    return PlanBuilder(collective, name="uneven", ranks=ranks, **options)


def adjoining(lengths):
    return tuple(zip(itertools.accumulate(lengths, initial=0), lengths, strict=False))


def layout_of(plan, lengths):
    """The layout of a variable-count call: `lengths[k]` is that of the block of rank k, in an all_to_all of all its."""
    ranks = range(plan.size)
    match Collective.of(plan.collective).uniform:
        case Collective.ALL_GATHER:
            sides = [([lengths[r]], lengths) for r in ranks]
        case Collective.REDUCE_SCATTER:
            sides = [(lengths, [lengths[r]]) for r in ranks]
        case Collective.GATHER:
            sides = [([lengths[r]], lengths if r == plan.root else []) for r in ranks]
        case Collective.SCATTER:
            sides = [(lengths if r == plan.root else [], [lengths[r]]) for r in ranks]
        case _:
            sides = [(lengths[r], [lengths[q][r] for q in ranks]) for r in ranks]
    return Layout.explicit(plan, *(tuple(adjoining(side[i]) for side in sides) for i in (0, 1)), 4)


def outcomes(plan, lengths, seeds=20):
    """The outputs under random schedules, and the errors, as texts."""
    layout = layout_of(plan, lengths)
    inputs = [
        (np.arange(sum(n for _, n in chunks) // 4) % 997 + 1000 * (1 + r)).astype(np.int32)
        for r, chunks in enumerate(layout.inputs)
    ]
    found = set()
    for seed in range(seeds):
        try:
            result = run(plan, inputs, layout=layout, schedule=seed, max_pieces=3, launches=3)
        except PlanError as error:
            found.add(type(error).__name__)
        else:
            found |= {b"".join(o.tobytes() for o in outputs) for outputs in result.launches}
    return found


def wanted(plan, lengths):
    """What an all_gather gives."""
    whole = np.concatenate([(np.arange(n) % 997 + 1000 * (1 + r)).astype(np.int32) for r, n in enumerate(lengths)])
    return {whole.tobytes() * plan.size}


def is_right(plan, *every):
    report = verify(plan, variable=True)
    assert report.ok, str(report)
    for lengths in every:
        assert len(outcomes(plan, lengths, seeds=6)) == 1
        if plan.collective == "all_gather":
            assert outcomes(plan, lengths, seeds=1) == wanted(plan, lengths)


def is_right_for_equal_counts_alone(plan, lengths):
    assert verify(plan).ok, str(verify(plan))
    found = verify(plan, variable=True)
    assert not found.ok
    assert outcomes(plan, lengths) != wanted(plan, lengths)
    return found.findings


def only_uneven(findings, message):
    assert {finding.code for finding in findings} == {Code.UNEVEN_COUNTS}
    assert any(message in finding.message for finding in findings), [str(f) for f in findings]
