import pytest

from hal.plan.collective import Collective
from hal_collectives.bench.formulas import MEASURED, Message, algorithm_bandwidth, bus_factor, message


@pytest.mark.parametrize(
    ("name", "two", "four", "eight"),
    [
        ("all_reduce", 1.0, 1.5, 1.75),
        ("all_gather", 0.5, 0.75, 0.875),
        ("reduce_scatter", 0.5, 0.75, 0.875),
        ("gather", 0.5, 0.75, 0.875),
        ("scatter", 0.5, 0.75, 0.875),
        ("all_to_all", 0.5, 0.75, 0.875),
        ("broadcast", 1.0, 1.0, 1.0),
        ("reduce", 1.0, 1.0, 1.0),
        ("send_recv", 1.0, 1.0, 1.0),
        ("barrier", 0.0, 0.0, 0.0),
    ],
)
def test_the_bus_factors(name, two, four, eight):
    assert [bus_factor(Collective.of(name), ranks) for ranks in (2, 4, 8)] == [two, four, eight]


def test_the_algorithm_bandwidth_is_in_gigabytes_of_ten_to_the_ninth():
    assert algorithm_bandwidth(3_000_000_000, 1.5) == 2.0
    assert algorithm_bandwidth(0, 1.0) == 0.0


def test_a_published_row_of_nccl_tests():
    # all_reduce on 16 ranks: 4294967296 bytes, 42721.7 us, 100.53 and 188.50 GB/s
    algbw = algorithm_bandwidth(4294967296, 42721.7e-6)
    assert f"{algbw:.2f}" == "100.53"
    assert f"{algbw * bus_factor(Collective.ALL_REDUCE, 16):.2f}" == "188.50"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all_reduce", Message(14, 14, 14)),
        ("broadcast", Message(14, 14, 14)),
        ("reduce", Message(14, 14, 14)),
        ("send_recv", Message(14, 14, 14)),
        ("all_gather", Message(3, 12, 3)),
        ("gather", Message(3, 12, 3)),
        ("reduce_scatter", Message(12, 3, 3)),
        ("scatter", Message(12, 3, 3)),
        ("all_to_all", Message(12, 12, 3)),
        ("barrier", Message(0, 0, 0)),
    ],
)
def test_the_counts_of_14_elements_on_4_ranks(name, expected):
    assert message(Collective.of(name), 14, 4) == expected


@pytest.mark.parametrize("collective", MEASURED)
def test_the_counts_agree_with_the_plans(collective):
    if collective in (Collective.BARRIER, Collective.BROADCAST, Collective.SEND_RECV):
        return  # there one rank alone has an input, and the message is the whole of it
    shape = message(collective, 40, 4)
    assert collective.blocks(4, 0, 0) == (shape.send // shape.count, shape.receive // shape.count)
