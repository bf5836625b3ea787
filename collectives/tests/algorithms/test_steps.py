"""Pictures of the built-in algorithms: as many steps as the textbook says, an arrow for each operand that is remote."""

import math
import re
from pathlib import Path

import pytest

from hal.plan.draw import steps_of
from hal.plan.lower import walk
from hal.plan.model import Move, Post
from hal_collectives.algorithms import get, provide

SIZES = (2, 3, 4, 7, 8, 16)


def log2(n):
    return int(math.log2(n))


TEXTBOOK = {
    ("all_reduce", "ring"): lambda n: 2 * (n - 1),
    ("all_gather", "ring"): lambda n: n - 1,
    ("reduce_scatter", "ring"): lambda n: n - 1,
    # ranks beyond a power of two are folded in before, and told after; a single one waits for nobody else's folding
    ("all_reduce", "recursive_doubling"): lambda n: log2(n) + min(2, n - 2 ** log2(n)),
    ("all_reduce", "halving_doubling"): lambda n: 2 * log2(n) + (0 if n == 2 ** log2(n) else 2),
    ("all_gather", "recursive_doubling"): lambda n: log2(n) if n == 2 ** log2(n) else None,
    ("broadcast", "binomial_tree"): lambda n: log2(n),
    ("all_reduce", "one_phase"): lambda n: 1,
    ("all_reduce", "all_pairs_ll"): lambda n: 1,
    ("all_reduce", "two_phase"): lambda n: 2,
    ("all_reduce", "two_phase_mapped"): lambda n: 2,
    ("all_to_all", "publish"): lambda n: 1,
}


@pytest.mark.parametrize(("collective", "name"), TEXTBOOK)
def test_steps_are_those_of_the_textbook(collective, name):
    algorithm = get(collective, name)
    for size in SIZES:
        expected = TEXTBOOK[collective, name](size)
        if algorithm.supports(size) and expected is not None:
            plan = algorithm.build(size, 0) if collective == "broadcast" else algorithm.build(size)
            assert steps_of(plan).steps == expected, size


@pytest.mark.parametrize("algorithm", provide(), ids=lambda a: f"{a.collective}-{a.name}")
def test_every_algorithm_has_an_arrow_for_each_remote_operand(algorithm):
    for size in (2, 5, 8):
        if not algorithm.supports(size):
            continue
        rooted = algorithm.collective in ("broadcast", "reduce", "gather", "scatter")
        plan = algorithm.build(size, size - 1) if rooted else algorithm.build(size)
        remote = 0
        for rank in plan.ranks:
            for block in rank.blocks:
                for i in walk(block):
                    if isinstance(i, Move):
                        remote += sum(s.peer is not None for s in (*i.src, *i.dst))
                    remote += isinstance(i, Post)
        diagram = steps_of(plan)
        assert diagram.signals == (algorithm.collective == "barrier")
        if not diagram.signals:
            assert len(diagram.arrows) == remote
        assert all(a.src != a.dst for a in diagram.arrows)
        # no step is empty: each of them led to the next
        assert {a.step for a in diagram.arrows} == set(range(1, diagram.steps + 1))


def test_the_picture_in_the_documentation_is_that_of_the_ring():
    picture = (Path(__file__).parents[3] / "docs" / "pictures" / "ring.svg").read_text()
    drawn = set(re.findall(r'id="arrow-(\d+)-(\d+)-(\d+)"', picture))
    diagram = steps_of(get("all_reduce", "ring").build(4))
    assert {tuple(map(int, one)) for one in drawn} == {(a.step, a.src, a.dst) for a in diagram.arrows}
