import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import PlanError
from hal.plan import Layout, PlanBuilder, lower
from hal.plan.lower import Opcode


def opcodes(words):
    found = []
    at = 0
    while at < len(words):
        found.append((Opcode(words[at]), words[at + 3 : at + 2 + words[at + 1]]))
        at += 2 + words[at + 1]
    return found


def test_operands_become_ranks_buffers_and_offsets():
    p = PlanBuilder("all_gather", name="p", ranks=2)
    rank, other = p.ranks
    rank.block().copy([rank.output[1], rank.scratch[1].packets], other.input[0])
    plan = p.build()
    program = lower(plan, 0, Layout.uniform(plan, 100, 4), DType.FLOAT32)
    ((opcode, words),) = opcodes(program.blocks[0])
    assert opcode is Opcode.MOVE
    op, divisor, length, sources, targets, *operands = words
    assert (op, divisor, length, sources, targets) == (ReduceOp.SUM, 1, 400, 1, 2)
    assert operands == [1, 0, 0, 0, 0, 1, 400, 0, 0, 2, 2 * 512, 1]
    assert (program.maps_input, program.maps_output) == (True, False)
    assert program.scratch_bytes == 2 * 2 * 512


@pytest.mark.parametrize(("final", "expected"), [(True, (ReduceOp.AVG, 3)), (False, (ReduceOp.SUM, 1))])
def test_an_average_is_divided_where_the_result_is_final(final, expected):
    p = PlanBuilder("all_reduce", name="p", ranks=3)
    rank = p.ranks[0]
    rank.block().reduce(rank.output[0], [rank.input[0], p.ranks[1].input[0]], final=final)
    plan = p.build()
    program = lower(plan, 0, Layout.uniform(plan, 1, 4), DType.FLOAT32, ReduceOp.AVG)
    ((_, words),) = opcodes(program.blocks[0])
    assert tuple(words[:2]) == expected


def test_operands_of_different_length_are_refused():
    p = PlanBuilder("all_gather", name="odd", ranks=2, split=2)
    rank = p.ranks[0]
    rank.block().copy(rank.output[1], rank.input[0])
    plan = p.build()
    lower(plan, 0, Layout.uniform(plan, 32, 4), DType.FLOAT32)
    with pytest.raises(PlanError, match=r"plan 'odd', rank 0, block 0, instruction 0: .*differ in length"):
        lower(plan, 0, Layout.uniform(plan, 33, 4), DType.FLOAT32)


def test_scratch_that_is_too_small_is_refused():
    p = PlanBuilder("all_reduce", name="p", ranks=1, scratch_chunk_bytes=128)
    rank = p.ranks[0]
    rank.block().copy(rank.scratch[0], rank.input[0])
    plan = p.build()
    lower(plan, 0, Layout.uniform(plan, 32, 4), DType.FLOAT32)
    with pytest.raises(PlanError, match="exceed the 128"):
        lower(plan, 0, Layout.uniform(plan, 33, 4), DType.FLOAT32)


def test_loops_of_one_unit_run_the_same_number_of_pieces_on_all_ranks():
    p = PlanBuilder("broadcast", name="p", ranks=2, root=0, scratch_chunk_bytes=128)
    root, other = p.ranks
    block = root.block()
    with block.loop(64, slots=2):
        block.copy(other.scratch[0], root.input[0])
        block.signal([other])
    block = other.block()
    with block.loop(64, slots=2):
        block.wait([root])
    plan = p.build()
    layout = Layout.uniform(plan, 100, 4)
    loops = [opcodes(lower(plan, r, layout, DType.FLOAT32).blocks[0])[0] for r in range(2)]
    assert [opcode for opcode, _ in loops] == [Opcode.LOOP] * 2
    assert [list(words[:3]) for _, words in loops] == [[64, 2, 7]] * 2


def test_a_signal_to_all_others_uses_the_common_counter():
    p = PlanBuilder("all_gather", name="p", ranks=3)
    for rank in p.ranks:
        block = rank.block()
        block.signal(rank.others)
        block.wait(rank.others)
    plan = p.build()
    program = lower(plan, 0, Layout.uniform(plan, 1, 4), DType.FLOAT32)
    assert [list(words[:2]) for _, words in opcodes(program.blocks[0])] == [[1, 2], [1, 2]]
