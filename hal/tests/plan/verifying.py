"""Plans for the tests of the verifier, and what it says of a plan."""

from hal.plan import PlanBuilder
from hal.plan.model import BufferKind
from hal.plan.verify import verify

INPUT, OUTPUT, SCRATCH = BufferKind.INPUT, BufferKind.OUTPUT, BufferKind.SCRATCH


def builder(collective="all_reduce", ranks=2, **options):
    return PlanBuilder(collective, name="tested", ranks=ranks, **options)


def exchange(*, first=True, second=True, relaxed=False, **options):
    """all_reduce through scratch; without `first` or `second` it lacks the meeting before or after the reading."""
    p = builder(**options)
    for rank in p.ranks:
        block = rank.block()
        block.copy(rank.scratch[0], rank.input[0])
        if first:
            block.signal(rank.others, relaxed=relaxed)
            block.wait(rank.others, relaxed=relaxed)
        else:
            block.sync()
        block.reduce(rank.output[0], [q.scratch[0] for q in p.ranks], final=True)
        if second:
            block.signal(rank.others)
            block.wait(rank.others)
    return p.build()


def codes(plan, **options):
    return [finding.code for finding in verify(plan, **options).findings]


def only(plan, code):
    """The findings of a plan, which all have this code."""
    report = verify(plan)
    assert {finding.code for finding in report.findings} == {code}, str(report)
    assert not report.ok
    return report.findings
