from dataclasses import replace

import pytest

from hal.interface.dtypes import DType, ReduceOp
from hal.interface.errors import UsageError
from hal_collectives.bench.cases import cases
from hal_collectives.bench.settings import (
    Settings,
    read_average,
    read_collectives,
    read_dtypes,
    read_ops,
)

SETTINGS = Settings(collectives=("all_reduce",), max_bytes=1024)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_bytes": 2048}, "-b is 2048 and -e is 1024"),
        ({"factor": 1}, "-f is 1: expected a factor of at least 2"),
        ({"step": 8}, "give one of them"),
        ({"factor": None}, "give one of them"),
        ({"iterations": 0}, "-n is 0: expected 1 or more"),
        ({"warmup": -1}, "-w is -1: expected 0 or more"),
        ({"rounds": 0}, "--rounds is 0: expected 1 or more"),
        ({"root": 4}, "-r is 4: expected a rank, 0 to 3, or -1"),
        ({"root": -2}, "-r is -2"),
        ({"timeout": 0.0}, "-T is 0: expected a number of seconds above 0"),
        ({"timeout": float("nan")}, "-T is nan"),
        ({"ops": ("band",)}, "'band' is defined on integers, not on float32"),
        ({"json": "no/such/folder/x.json"}, "--json is 'no/such/folder/x.json': its folder does not exist"),
        ({"json": "."}, "this is a folder"),
        ({"plot": "x.gif"}, "expected a name that ends with one of .png, .svg, .pdf"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    SETTINGS.check(4)
    with pytest.raises(UsageError) as error:
        replace(SETTINGS, **change).check(4)
    assert message in str(error.value)


def test_the_number_of_ranks():
    with pytest.raises(UsageError, match="--ranks is 0: expected 1 or more"):
        SETTINGS.check(0)
    with pytest.raises(UsageError, match="send_recv needs at least 2 ranks"):
        replace(SETTINGS, collectives=("send_recv",)).check(1)


def test_a_plot_needs_matplotlib(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'hal-collectives\[plot\]'"):
        replace(SETTINGS, plot="x.png").check(2)


def test_an_unknown_name_brings_the_nearest():
    with pytest.raises(UsageError, match=r"unknown collective 'all_redcue'.*did you mean 'all_reduce'"):
        read_collectives(["all_redcue"])
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        read_dtypes("bfloat61")
    with pytest.raises(UsageError, match="did you mean 'prod'"):
        read_ops("prodd")
    with pytest.raises(UsageError, match="did you mean 'max'"):
        read_average("maxx")


def test_names():
    assert len(read_collectives(["all"])) == 10
    assert read_collectives(["reduce", "all_reduce", "reduce"]) == ("reduce", "all_reduce")
    assert read_dtypes("half") == ("float16",)
    assert read_dtypes("f8e5m2") == ("float8_e5m2",)
    assert len(read_dtypes("all")) == len(DType)
    assert read_ops("band") == ("band",)
    assert len(read_ops("all")) == len(ReduceOp)
    assert [read_average(text) for text in ("0", "1", "2", "3", "avg")] == ["rank0", "avg", "min", "max", "avg"]


def test_the_rows_of_a_sweep():
    settings = replace(SETTINGS, collectives=("all_gather", "barrier"), dtypes=("int8", "float64"), max_bytes=64)
    found = [(case.collective.label, case.dtype.label, case.size, case.message.count) for case in cases(settings, 3)]
    assert found == [
        ("all_gather", "int8", 6, 2),
        ("all_gather", "int8", 15, 5),
        ("all_gather", "int8", 30, 10),
        ("all_gather", "int8", 63, 21),
        # 8 and 16 bytes hold no element of 8 bytes for each of three ranks
        ("all_gather", "float64", 24, 1),
        ("all_gather", "float64", 48, 2),
        ("barrier", "uint8", 0, 0),
    ]


def test_all_operations_and_types_means_all_that_go_together():
    settings = replace(SETTINGS, dtypes=read_dtypes("all"), ops=read_ops("all"), min_bytes=1024)
    settings.check(2)
    assert len(cases(settings, 2)) == 8 * 8 + 6 * 5
    bitwise = replace(settings, ops=("band",))
    bitwise.check(2)
    assert {case.dtype.is_float for case in cases(bitwise, 2)} == {False}


def test_every_root_in_turn():
    settings = replace(SETTINGS, collectives=("broadcast",), root=-1, min_bytes=1024)
    assert [case.root for case in cases(settings, 3)] == [0, 1, 2]


def test_send_recv_is_left_out_of_all_for_one_rank():
    names = {case.collective.label for case in cases(replace(SETTINGS, collectives=read_collectives(["all"])), 1)}
    assert "send_recv" not in names
    assert len(names) == 9


def test_nothing_to_measure_is_an_error():
    with pytest.raises(UsageError, match=r"all_gather has nothing to measure.*raise -e"):
        cases(replace(SETTINGS, collectives=("all_gather",), max_bytes=8), 4)


def test_settings_survive_json():
    settings = replace(SETTINGS, factor=None, step=7, timeout=1.5, json="x", dtypes=("int8", "float16"))
    assert Settings.from_json(settings.to_json()) == settings
