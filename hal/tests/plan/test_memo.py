import dataclasses
import gc
import weakref

from hal.plan.memo import once_per_plan
from hal.plan.model import Plan, RankPlan


class Result:
    pass


def test_a_result_is_computed_once_for_each_plan_object_and_goes_with_it():
    calls = []

    @once_per_plan
    def compute(plan):
        calls.append(plan.name)
        return Result()

    plan = Plan("one", "barrier", (RankPlan(0, 0, 0, ()),))
    equal = dataclasses.replace(plan)
    first = compute(plan)
    assert compute(plan) is first
    assert compute(equal) is not first
    assert calls == ["one", "one"]
    gone = weakref.ref(first)
    del plan, first
    gc.collect()
    assert gone() is None
