from dataclasses import replace

from hal_collectives.bench.report import Report, Result, Row
from hal_collectives.bench.settings import Settings
from hal_collectives.bench.table import closing, header, line, preamble

RIGHT = Result(time_us=582.14, rounds_us=(582.14,), algbw=230.567, busbw=403.4987, wrong=0)
ROW = Row("all_reduce", 134217728, 33554432, "float32", "sum", None, RIGHT, replace(RIGHT, time_us=20438.4))

HALVES = (
    "           out-of-place                       in-place          ",
    "     time   algbw   busbw #wrong     time   algbw   busbw #wrong",
    "     (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)       ",
)
# as nccl-tests prints it; the trailing blanks are theirs
HEADER = [
    "#                                                   " + HALVES[0],
    "#       size         count      type   redop    root" + HALVES[1],
    "#        (B)    (elements)                          " + HALVES[2],
]


def test_the_header():
    assert header() == HEADER


def test_a_row():
    first = "   134217728      33554432     float     sum      -1"
    halves = "    582.1  230.57  403.50      0", "    20438  230.57  403.50      0"
    assert line(ROW) == first + "".join(halves)


def test_times_keep_four_digits_as_in_nccl_tests():
    times = [
        line(replace(ROW, out_of_place=replace(RIGHT, time_us=time))).split()[5]
        for time in (1.234, 99.994, 100, 9999.96, 10000)
    ]
    assert times == ["1.23", "99.99", "100.0", "10000.0", "10000"]


def test_what_was_not_checked_or_has_no_in_place_form():
    assert line(replace(ROW, in_place=None)).split()[-4:] == ["N/A"] * 4
    assert line(replace(ROW, in_place=replace(RIGHT, wrong=None))).split()[-1] == "N/A"
    assert len(line(replace(ROW, in_place=None))) == len(line(ROW))


def test_names_of_types_operations_and_roots():
    assert line(replace(ROW, dtype="float8_e4m3", redop=None, root=3)).split()[2:5] == ["f8e4m3", "none", "3"]
    assert line(replace(ROW, dtype="uint16")).split()[2] == "uint16"


def test_the_column_with_the_collective_shifts_the_others():
    named, plain = header(named=True), header()
    assert named[1].startswith("# collective")
    assert {len(a) - len(b) for a, b in zip(named, plain, strict=True)} == {14}
    assert line(ROW, named=True).startswith("  all_reduce ")
    assert len(line(ROW, named=True)) - len(line(ROW)) == 14


def test_the_closing_lines():
    settings = Settings(collectives=("all_reduce",))
    assert closing(Report({}, settings, (ROW,))) == [
        "# Out of bounds values : 0 OK",
        "# Avg bus bandwidth    : 403.499 ",
        "#",
    ]
    wrong = replace(ROW, in_place=replace(RIGHT, wrong=12))
    assert closing(Report({}, settings, (ROW, wrong)))[0] == "# Out of bounds values : 1 FAILED"
    assert closing(Report({}, settings, ()))[1] == "# Avg bus bandwidth    : 0 "


def test_the_lines_before():
    settings = Settings(collectives=("all_reduce",), factor=None, step=64)
    ranks = [{"pid": 42, "host": "node1", "backend": "host"}, {"pid": 7, "host": "node1", "backend": "cuda"}]
    assert preamble(settings, ranks) == [
        "# nRanks 2 minBytes 8 maxBytes 134217728 step: 64(bytes) warmup iters: 5 iters: 20 rounds: 3 validation: 1 "
        "buffers: mapped",
        "#",
        "# Using devices",
        "#  Rank  0 Pid     42 on      node1 device host",
        "#  Rank  1 Pid      7 on      node1 device cuda",
        "#",
    ]
