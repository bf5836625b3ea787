"""Which source wins, setting by setting, and that each value knows its source."""

import pytest

from hal import config
from hal.config import Origin
from hal.interface.errors import ConfigError, UsageError


def test_defaults(load):
    loaded = load()
    assert (loaded.backend, loaded.timeout, loaded.log_level) == ("host", 30.0, "warning")
    assert loaded.bootstrap.timeout == 60.0
    assert loaded.section("host").segment_size == 64 * 2**30
    assert loaded.path is None
    assert all(loaded.origin(key.dotted) == Origin("default", "default") for key in loaded.settings())


def test_each_source_wins_over_the_weaker_ones(load):
    text = "# first line\nbackend: filed\ntimeout: 1s\nbootstrap:\n  timeout: 2s\nhost: {spin: 3}\n"
    env = {"HAL_TIMEOUT": "10", "HAL_BOOTSTRAP_TIMEOUT": "500ms", "HAL_HOST_SPIN": "7"}
    loaded = load(text, env, overrides={"timeout": 99, "host.spin": None})
    assert (loaded.backend, loaded.origin("backend")) == ("filed", Origin("file", "hal.yaml:2"))
    assert (loaded.timeout, loaded.origin("timeout")) == (99.0, Origin("argument", "argument"))
    assert loaded.bootstrap.timeout == 0.5
    assert loaded.origin("bootstrap.timeout") == Origin("environment", "environment HAL_BOOTSTRAP_TIMEOUT")
    assert (loaded.section("host").spin, loaded.get("host.spin")) == (7, 7)


def test_lines_of_nested_keys(load):
    loaded = load("host:\n  spin: 1\n\n  scratch_size: 1M\n")
    assert loaded.origin("host.spin").text == "hal.yaml:2"
    assert loaded.origin("host.scratch_size").text == "hal.yaml:4"


def test_an_empty_variable_is_not_set(load):
    assert load(env={"HAL_TIMEOUT": "", "HAL_CONFIG": ""}).origin("timeout").kind == "default"


def test_unknown_variables_are_kept_for_info(load):
    assert load(env={"HAL_TIMEOT": "3", "HAL_CONFIG": "", "OTHER": "x"}).unknown_variables == ("HAL_TIMEOT",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "host:\nbootstrap:\n", "---\n"])
def test_an_empty_file_or_section_sets_nothing(load, text):
    loaded = load(text)
    assert loaded.path.name == "hal.yaml"
    assert loaded.get("host.spin") == 20


def test_questions_about_what_does_not_exist(load):
    loaded = load()
    with pytest.raises(UsageError, match="did you mean 'timeout'"):
        loaded.origin("timeot")
    with pytest.raises(UsageError, match=r"did you mean 'bootstrap\.timeout'"):
        loaded.get("bootstrap.timeot")
    with pytest.raises(UsageError, match="unknown backend section 'cpu'"):
        loaded.section("cpu")


def test_a_config_does_not_change(load):
    with pytest.raises(AttributeError):
        load().timeout = 3


def test_algorithms_by_name_and_by_rules(load):
    text = """
algorithms:
  all_gather: ring
  all_reduce:
    - {max_bytes: 32K, ranks: [2, 4], algorithm: all_pairs}
    - {max_bytes: 1M, algorithm: two_phase}
    - {algorithm: ring}
  reduce: [{max_bytes: 8, algorithm: tree}]
"""
    algorithms = load(text, {"HAL_ALGORITHMS_BARRIER": "tree"}).algorithms
    assert algorithms.pinned("all_gather", 2**40, 7) == "ring"
    assert algorithms.pinned("all_reduce", 32 * 1024, 4) == "all_pairs"
    assert algorithms.pinned("all_reduce", 32 * 1024, 3) == "two_phase"
    assert algorithms.pinned("all_reduce", 2**20 + 1, 2) == "ring"
    assert algorithms.pinned("reduce", 9, 2) is None
    assert algorithms.pinned("scatter", 1, 2) is None
    assert algorithms.pinned("barrier", 0, 2) == "tree"
    with pytest.raises(UsageError, match="did you mean 'all_reduce'"):
        algorithms.pinned("allreduce", 1, 2)


def test_installed_backends_are_asked_for_their_settings(tmp_path, monkeypatch):
    """Without `sections`, load goes to the plug-ins; here there are none, so that no section is known."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [])
    (tmp_path / "hal.yaml").write_text("host: {spin: 1}\n")
    with pytest.raises(ConfigError, match=r"installed backends: none"):
        config.load(env={}, cwd=tmp_path)
