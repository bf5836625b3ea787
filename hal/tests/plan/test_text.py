import pytest

from hal.interface.dtypes import ReduceOp
from hal.interface.errors import PlanError
from hal.plan import BufferKind, Flush, Move, Signal, Span, Sync, Wait, describe, instruction_at, show
from hal.plan.text import numbered, path_text

OUT, IN = Span(BufferKind.OUTPUT, 0), Span(BufferKind.INPUT, 0)

SHOWN = """\
plan 'everything': custom on 2 ranks, root 1
All of it: «ä»
count cut in 2 at multiples of 128 bytes, scratch chunks of 4096 bytes; not in place

rank 0: input 4, output 4, scratch 3 chunks
  channel 0: memory to rank 1
  channel 1: port to rank 1
  channel 2: switch of ranks 0, 1
  semaphore 0: initially 3
  block 0
    0: move scratch[0].packets@1 <- input[0]
    1: move output[0:2] <- max(input[0:2], scratch[0:2].packets), final
    2: post output[2]@1 <- input[2], signal, flush (channel 1)
    3: wait 1 (channel 1)
    4: flush 1 (channel 1)
    5: loop unit 4096, slots 2
      5.0: move scratch[2] <- input[3]
      5.1: signal relaxed 1 (channel 0)
      5.2: wait relaxed 1 (channel 0)
    6: sync
    7: barrier 7 of 2 blocks
    8: acquire semaphore 0
  block 1
    0: sync
    1: barrier 7 of 2 blocks
    2: release semaphore 0
  block 2
    0: move output[3]@switch 2 <- reduce(input[3]@switch 2)"""


def test_moves():
    scratch = Span(BufferKind.SCRATCH, 0, peer=1)
    assert describe(Move((OUT,), (IN,))) == "move output[0] <- input[0]"
    assert describe(Move((OUT,), (scratch, IN))) == "move output[0] <- reduce(scratch[0]@1, input[0])"
    packets = Span(BufferKind.SCRATCH, 2, 3, peer=0, packet=True)
    assert describe(Move((OUT, packets), (IN,), ReduceOp.MAX, True)) == (
        "move output[0], scratch[2:5].packets@0 <- max(input[0]), final"
    )
    switch = Span(BufferKind.INPUT, 0, switch=3)
    assert describe(Move((OUT,), (switch,))) == "move output[0] <- reduce(input[0]@switch 3)"


def test_channels_are_named_with_their_peers_where_these_are_known(all_gather):
    channels = all_gather.ranks[0].channels
    assert describe(Signal((0,)), channels) == "signal 1 (channel 0)"
    assert describe(Signal((0,))) == "signal (channel 0)"
    assert describe(Wait((0, 0), relaxed=True), channels) == "wait relaxed 1, 1 (channels 0, 0)"
    assert describe(Flush(0), channels) == "flush 1 (channel 0)"


def test_a_whole_plan(everything):
    assert show(everything, 0) == SHOWN
    assert show(everything).count("rank 1: input 4") == 1
    with pytest.raises(PlanError, match="no rank 2: allowed are 0 to 1"):
        show(everything, 2)


def test_instructions_are_found_where_the_numbers_say(everything):
    for rank, part in enumerate(everything.ranks):
        for block, instructions in enumerate(part.blocks):
            for path, instruction in numbered(instructions):
                assert instruction_at(everything, rank, block, path) is instruction
    assert isinstance(instruction_at(everything, 0, 1, (0,)), Sync)


@pytest.mark.parametrize(
    ("rank", "block", "path"),
    [(2, 0, (0,)), (0, 9, (0,)), (0, 0, (99,)), (0, 0, (0, 0)), (0, 0, (-1,)), (0, 0, ())],
)
def test_what_is_not_there_is_refused(everything, rank, block, path):
    with pytest.raises(PlanError, match=f"no instruction {path_text(path)} in block {block} of rank {rank}"):
        instruction_at(everything, rank, block, path)
