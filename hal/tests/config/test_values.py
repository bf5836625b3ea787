"""What each kind of value accepts and refuses, through the whole of loading."""

import pytest

from hal.interface.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30), ("0.5", 0.5), ("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("'10'", 10), ("1.5 s", 1.5),
        (".25s", 0.25), ("720h", 2592000), ("1_000", 1000),
    ],
)  # fmt: skip
def test_durations(load, written, seconds):
    assert load(f"timeout: {written}\n").timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written",
    ["0", "-1", "0ms", "-3s", ".inf", ".nan", "1e999", "721h", "soon", "3 weeks", "true", "", "[1]", "{a: 1}", "~",
     "2020-01-01", "'1_0'", "'٣s'", "9" * 400, "0x" + "f" * 9000, "9" * 5000],
)  # fmt: skip
def test_not_durations(refused, written):
    message = refused(f"backend: host\ntimeout: {written}\n")
    assert message.startswith("hal.yaml:2: timeout: ")
    assert "allowed is seconds as a number, or text such as 500ms, 30s, 2m" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("65536", 65536),
        ("64K", 65536),
        ("1m", 2**20),
        ("2G", 2**31),
        ("1T", 2**40),
        ("0x10000", 65536),
        ("'70000'", 70000),
    ],
)
def test_sizes(load, written, count):
    assert load(f"host: {{scratch_size: {written}}}").section("host").scratch_size == count


@pytest.mark.parametrize("written", ["65535", "63K", "-1", "1.5M", "64KB", "big", "on", "8388608T", "1e6", "[64K]"])
def test_not_sizes(refused, written):
    message = refused(f"host: {{scratch_size: {written}}}")
    assert message.startswith("hal.yaml:1: host.scratch_size: ")
    assert message.endswith("is not a size: allowed is bytes as a number, or text such as 64K, 1M, 2G; at least 64K")


@pytest.mark.parametrize("written", ["-1", "1.0", "many", "false", "'1 0'", "9223372036854775808"])
def test_not_integers(refused, written):
    assert "allowed is an integer of at least 0" in refused(f"host: {{spin: {written}}}")


@pytest.mark.parametrize(("written", "value"), [("true", True), ("false", False), ("'true'", True), ("'false'", False)])
def test_truth_values(load, written, value):
    assert load(f"host: {{eager: {written}}}").section("host").eager is value
    assert load(env={"HAL_HOST_EAGER": str(value).lower()}).section("host").eager is value


@pytest.mark.parametrize("written", ["1", "0", "'yes'", "''", "[true]", "null"])
def test_not_truth_values(refused, written):
    assert "is not a truth value: allowed is true or false" in refused(f"host: {{eager: {written}}}")


@pytest.mark.parametrize("written", ["3", "on", "Host!", "''", "[host]", "null", "-host"])
def test_not_backend_names(refused, written):
    assert "is not a backend's name" in refused(f"backend: {written}")


def test_log_level(load, refused):
    assert load("log_level: debug").log_level == "debug"
    assert refused("log_level: warn").endswith(
        "'warn' is not allowed: allowed are debug, info, warning, error; did you mean 'warning'?"
    )
    assert "allowed are debug, info" in refused("log_level: [debug]")


def test_an_optional_value_may_be_empty(load, refused):
    assert load("algorithms: {all_reduce: null}").algorithms.all_reduce is None


@pytest.mark.parametrize(
    ("rules", "place", "what"),
    [
        ("Ring!", "2: algorithms.all_reduce", "allowed is a name of a-z, 0-9 and _, or a list of rules"),
        ("[]", "2: algorithms.all_reduce", "a list is not an algorithm"),
        ("{algorithm: ring}", "2: algorithms.all_reduce", "a mapping is not an algorithm"),
        ("[ring]", "2: algorithms.all_reduce[0]", "'ring' is not a rule"),
        ("\n  - {algorithm: ring}\n  - {max_bytes: 64K}", "4: algorithms.all_reduce[1]", "names no algorithm"),
        ("\n  - algorithm: ring\n    max_byte: 1", "4: algorithms.all_reduce[0].max_byte", "did you mean 'max_bytes'?"),
        ("\n  - algorithm: ring\n    max_bytes: x", "4: algorithms.all_reduce[0].max_bytes", "'x' is not a size"),
        ("[{algorithm: ring, ranks: 2}]", "2: algorithms.all_reduce[0].ranks", "such as [2, 4]"),
        (
            "[{algorithm: ring, ranks: [2, 0]}]",
            "2: algorithms.all_reduce[0].ranks",
            "allowed is integers of at least 1",
        ),
    ],
)
def test_not_algorithms(refused, rules, place, what):
    message = refused(f"algorithms:\n all_reduce: {rules}\n")
    assert message.startswith(f"hal.yaml:{place}: ")
    assert what in message


def test_values_from_code_are_checked_alike(load):
    assert load(overrides={"timeout": "2m", "host.scratch_size": 2**20}).timeout == 120
    for key, value in {"timeout": object(), "backend": b"host", "host.spin": 1.5, "algorithms.reduce": {"a"}}.items():
        with pytest.raises(ConfigError, match=f"argument: {key}: .* allowed "):
            load(overrides={key: value})
