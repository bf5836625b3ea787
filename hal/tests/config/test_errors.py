"""Errors name the place, what is allowed and the nearest name, and come quickly whatever the file holds."""

import contextlib

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hal import config
from hal.config import document, kinds, setting
from hal.interface.errors import ConfigError, UsageError


def test_all_problems_of_all_sources_in_one_error(refused):
    text = "timeout: soon\nbackend: host\nhost:\n  spinn: 1\n  spin: -1\nbackend: cpu\nbackedn: host\n"
    message = refused(text, {"HAL_LOG_LEVEL": "loud"}, overrides={"bootstrap.timeot": 1})
    lines = message.splitlines()
    assert lines[0] == "the configuration has several problems:"
    assert [line.split(": ")[0].strip() for line in lines[1:]] == [
        "hal.yaml:1", "hal.yaml:4", "hal.yaml:5", "hal.yaml:6", "hal.yaml:7", "argument", "environment HAL_LOG_LEVEL",
    ]  # fmt: skip
    assert "unknown key in host 'spinn'" in lines[2]
    assert "did you mean 'spin'?" in lines[2]
    assert "backend is given twice, first in line 2" in lines[4]
    assert "did you mean 'backend'?" in lines[5]
    assert "did you mean 'bootstrap.timeout'?" in lines[6]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"timeout: [1, 2\nbackend: host\n", 2, "not usable YAML: while parsing a flow sequence"),
        (b"a: 1\n\tb: 2\n", 2, "cannot start any token"),
        (b"backend: &x host\ntimeout: *x\n", 2, "aliases (*name) are not allowed"),
        (b"backend: !!python/object/apply:os.getcwd []\n", 1, "tags (!name) are not allowed"),
        (b"a: 1\n---\nb: 2\n", 2, "expected a single document"),
        (b"backend: \xff\n", 1, "not UTF-8 text"),
        (b"timeout: 1\nbackend: \x07\n", 2, "control character"),
        (b'backend: "\\UFFFFFFFF"\n', 1, "out of range"),
        (b"- 1\n- 2\n", 1, "holds a list: allowed is a mapping of settings"),
        (b"just text\n", 1, "holds 'just text': allowed is a mapping of settings"),
        (b"backend: host\n? [a, b]\n: 1\n", 2, "a key is a single word"),
        (b"host: 3\n", 1, "host: 3 is not a mapping of settings"),
        (b"host: {spin: 1, spin: 2}\n", 1, "host.spin is given twice, first in line 1"),
        (b"algorithms:\n  allreduce: ring\n", 2, "did you mean 'all_reduce'?"),
        (b"cpu: {spin: 1}\n", 1, "unknown section 'cpu': allowed are bootstrap, algorithms, host"),
        (b"<<: {backend: host}\n", 1, "unknown section '<<'"),
        (b"on: 1\n", 1, "unknown key 'on'"),
        (b"'': 1\n", 1, "unknown key ''"),
    ],
)
def test_the_place_and_the_problem(refused, content, line, what):
    message = refused(content)
    assert message.startswith(f"hal.yaml:{line}: ")
    assert what in message


def test_a_section_without_its_backend_names_the_installed_ones(refused):
    assert refused("cpu: {spin: 1}\n").endswith("(installed backends: host)")


def test_a_variable_that_means_to_be_a_setting(refused):
    message = refused(env={"HAL_HOST_SPINN": "1"})
    assert message.startswith("environment HAL_HOST_SPINN: is no setting: allowed in host are HAL_HOST_")
    assert message.endswith("did you mean HAL_HOST_SPIN?")


def test_an_overridden_value_is_checked_too(refused):
    assert refused("timeout: soon\n", {"HAL_TIMEOUT": "3"}).startswith("hal.yaml:1: timeout:")


@pytest.mark.parametrize(
    "content",
    [
        b"a: &a [x, x]\n" + b"".join(b"%c: &%c [*%c, *%c]\n" % (i, i, i - 1, i - 1) for i in range(98, 120)),
        b"[" * 60_000,
        b"- " * 30_000,
        b"? " * 30_000,
        b"{a: " * 10_000,
        b"x" * 60_000 + b": 1\n",
        b"".join(b"k%d: 1\n" % i for i in range(6000)),
        b"timeout: " + b"1:" * 30_000 + b"1",
        b"timeout: " + b"7" * 60_000,
        b"#" * 70_000,
        b"timeout: 3\n" * 5000,
    ],
    ids=[
        "alias bomb",
        "[[[",
        "- - -",
        "? ? ?",
        "{a: {a:",
        "long key",
        "many keys",
        "sexagesimal",
        "digits",
        "large",
        "same key",
    ],
)
def test_hostile_files_are_refused_in_short(refused, content):
    assert len(refused(content)) < 5000


@attrs.frozen
class OwnValidators:
    """A plug-in's class that uses attrs alone; `low` and `high` depend on each other."""

    low: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    high: bool = attrs.field(default=True, converter=attrs.converters.to_bool)

    def __attrs_post_init__(self):
        if self.low == 5 and self.high:
            raise ValueError("low 5 needs high off")


def test_settings_classes_may_use_attrs_alone(load, refused):
    sections = {"acme": OwnValidators}
    assert load("acme: {low: 2, high: off}", sections=sections).section("acme") == OwnValidators(2, False)
    assert "acme.low: 'low' must be >= 1: 0" in refused("acme: {low: 0}", sections=sections)
    assert "acme.high: Cannot convert value to bool" in refused("acme: {high: 7}", sections=sections)
    assert "low 5 needs high off" in refused("acme: {low: 5, high: 1}", sections=sections)


def test_the_section_of_a_broken_backend_is_not_checked(load, refused):
    assert load("acme: {anything: 1}", sections={"acme": None}).backend == "host"
    assert "allowed are low, high" in refused("acme: {anything: 1}", sections={"acme": OwnValidators})


@attrs.frozen
class NoDefault:
    needed: int


@attrs.frozen
class BadDefault:
    count: int = setting("many", kinds.integer(), "A default that its own kind refuses.")


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        ("acme", NoDefault, "without a default: needed"),
        ("acme", BadDefault, "its defaults are refused: 'many' is not"),
        ("acme", int, "in place of an attrs class"),
        ("timeout", OwnValidators, "is the name of a setting of HAL itself"),
    ],
)
def test_unusable_settings_classes(tmp_path, name, settings, what):
    with pytest.raises(UsageError, match=what):
        config.load(env={}, cwd=tmp_path, sections={name: settings})


def _only_config_errors(content, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "fuzz"  # one folder for all examples, above no other test's
    folder.mkdir(exist_ok=True)
    (folder / "hal.yaml").write_bytes(content)
    with contextlib.suppress(ConfigError):
        config.load(env={}, cwd=folder, sections={"acme": OwnValidators})


@given(st.binary(max_size=300))
def test_any_bytes_give_a_config_or_a_config_error(tmp_path_factory, content):
    _only_config_errors(content, tmp_path_factory)


_words = st.one_of(
    st.sampled_from(
        ["backend", "timeout", "bootstrap", "algorithms", "all_reduce", "algorithm", "ranks", "acme", "low", "high"]
    ),
    st.sampled_from(
        ["64K", "ring", "1", "0b_", "1:60", "2020-13-99", "~", "on", "<<", "=", ".inf", "!", "!!int", "&a", "*a"]
    ),
    st.sampled_from(["|", ">-", "'", "?", ":", "-", ",", "[", "]", "{", "}", "#", "...", "---"]),
    st.sampled_from([" ", "  ", "\n", "\t", ": ", "\n  ", "\n- ", "\r", "\ufeff", "\x85", "\u2028", "\x00", "\ud800"]),
    st.sampled_from(['"', '"\\u', '"\\ud800"', '"\\UFFFFFFFF"', "%YAML 1.1", "%TAG ! !"]),
)


@given(st.lists(_words, max_size=40).map("".join))
def test_any_yaml_like_text_gives_a_config_or_a_config_error(tmp_path_factory, text):
    _only_config_errors(text.encode("utf-8", "surrogatepass"), tmp_path_factory)


@given(st.binary(max_size=300))
def test_parsing_alone_keeps_a_line_for_every_key(content):
    try:
        parsed = document.parse(content, "x")
    except ConfigError:
        return
    if isinstance(parsed.data, dict):
        assert all(1 <= parsed.lines[key,] <= content.count(b"\n") + content.count(b"\r") + 3 for key in parsed.data)
