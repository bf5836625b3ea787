import pytest

from hal.interface.errors import UsageError
from hal_collectives.bench.sizes import parse_size, show_size, sweep


@pytest.mark.parametrize(
    ("text", "size"),
    [("8", 8), ("1K", 1024), ("1k", 1024), ("128M", 128 << 20), ("2G", 2 << 30), ("1.5K", 1536), ("64KiB", 65536)],
)
def test_sizes(text, size):
    assert parse_size(text, "-b") == size


@pytest.mark.parametrize(
    "text", ["", "K", "-8", "0", "8 8", "1e3", "0x10", "٣", "9" * 18 + "G", "12Q", "1.5.5K", "nan"]
)
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match=r"^-b is "):
        parse_size(text, "-b")


def test_an_unknown_unit_is_named():
    with pytest.raises(UsageError, match="unknown unit 'Q': allowed are K, M, G"):
        parse_size("12Q", "-e")


def test_a_sweep_by_a_factor_and_by_an_increment():
    assert list(sweep(8, 100, factor=2)) == [8, 16, 32, 64]
    assert list(sweep(8, 8, factor=2)) == [8]
    assert list(sweep(100, 200, step=50)) == [100, 150, 200]


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (8, "8"), (1024, "1K"), (1536, "1536"), (128 << 20, "128M")])
def test_sizes_as_text(size, text):
    assert show_size(size) == text
