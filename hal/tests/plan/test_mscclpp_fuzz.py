"""Random damage to an MSCCL++ plan: the importer returns a valid plan or raises `PlanError`, soon."""

import json
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from hal.interface.errors import PlanError
from hal.plan import import_mscclpp, validate

from .mscclpp_documents import PIPELINE, document, on, op, own, remote, switch

few = settings(max_examples=150, database=None)

BLOCKS = [
    [on("signal", 0), on("wait", 0), op("nop"), op("rres", [own("i"), remote(0)], [own("i"), remote(0)], "memory")],
    [op("ppkt", [own("i")], [remote(2)], "memory"), op("repkt", [own("i"), own("s")], [own("o")]), PIPELINE],
    [op("pws", [own("i")], [remote(2, 1)], "port", channel_ids=[0]), on("wait", 0, kind="port")],
    [op("glres", [switch()], [switch(1)], "switch"), op("sem_acquire", semaphore_ids=[1])],
    [op("sem_release", semaphore_ids=[1]), op("barrier", barrier_id=0, num_threadblocks=1)],
]
VALUES = st.sampled_from([None, True, -1, 0, 1, 2, 3, 64, 10**9, 2**64, 2**70, 0.5, "", "i", "s", "port", [], [0], {}])


def places(value, path=()):
    """All places in a document, each as the path to it."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def damaged(document, path, change, value):
    *way, last = path
    owner = document
    for step in way:
        owner = owner[step]
    if change == "delete":
        del owner[last]
    elif change == "repeat" and isinstance(owner, list):
        owner.insert(last, owner[last])
    else:
        owner[last] = value


@few
@given(
    chance=st.randoms(use_true_random=False),
    changes=st.lists(st.tuples(st.sampled_from(["delete", "repeat", "set"]), VALUES), min_size=1, max_size=4),
    aliased=st.booleans(),
)
def test_damaged_documents(chance: random.Random, changes, aliased) -> None:
    raw = document(BLOCKS, collective="allreduce", inplace=aliased)
    for change, value in changes:
        damaged(raw, chance.choice(places(raw)), change, value)
    try:
        found = import_mscclpp(json.dumps(raw))
    except PlanError:
        return
    validate(found.plan)


def test_what_is_damaged_is_a_plan() -> None:
    assert import_mscclpp(json.dumps(document(BLOCKS, collective="allreduce"))).plan.size == 2
