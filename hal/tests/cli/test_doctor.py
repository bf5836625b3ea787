"""`hal doctor`: its report and its exit status."""

import threading

import pytest

from hal.plugins import Probe, Problem


def _fails():
    return Probe(available=False, problems=[Problem("the driver is missing", "install the driver")])


def test_the_configured_backend_works(hal, plugins):
    plugins.backend("acme")
    plugins.backend("other", _fails)
    result = hal("doctor", HAL_BACKEND="acme")
    assert result.exit_code == 0
    assert "the device" in result.stdout
    assert "other: the driver is missing\n  remedy: install the driver" in result.stdout
    assert "acme (environment HAL_BACKEND), works here" in result.stdout


def test_the_configured_backend_fails(hal, plugins):
    plugins.backend("acme")
    plugins.backend("other", _fails)
    result = hal("doctor", HAL_BACKEND="other")
    assert result.exit_code == 1
    assert "does not work here" in result.stdout


def test_the_configured_backend_is_broken(hal, plugins):
    plugins.declare("hal.backends", "acme", "no_such_module")
    result = hal("doctor", HAL_BACKEND="acme")
    assert result.exit_code == 1
    assert "acme: importing 'no_such_module' raised ModuleNotFoundError" in result.stdout


def test_the_configured_backend_is_not_installed(hal, plugins):
    plugins.backend("acme")
    result = hal("doctor", HAL_BACKEND="acne")
    assert result.exit_code == 1
    assert "did you mean 'acme'?" in result.stdout
    assert "this choice: environment HAL_BACKEND" in result.stdout


def test_a_broken_configuration_is_part_of_the_report(hal, plugins, tmp_path):
    plugins.backend("host")
    (tmp_path / "hal.yaml").write_text("timeot: 3\n")
    result = hal("doctor")
    assert result.exit_code == 1
    assert "configuration: hal.yaml:1: unknown key 'timeot'" in result.stdout
    assert "the device" in result.stdout


def test_a_probe_that_raises(hal, plugins):
    def probe():
        raise RuntimeError("the driver\nis odd")

    plugins.backend("host", probe)
    result = hal("doctor")
    assert result.exit_code == 1
    assert "host: its probe failed: RuntimeError: the driver is odd" in result.stdout


@pytest.fixture
def hanging():
    """A probe that answers only when the test is over; its thread has ended before the next test."""
    over = threading.Event()

    def probe():
        over.wait(60)
        return Probe(available=True)

    yield probe
    over.set()
    for thread in threading.enumerate():
        if thread.name == "probe-host":
            thread.join(60)


def test_a_probe_that_hangs(hal, plugins, hanging):
    plugins.backend("host", hanging)
    result = hal("doctor", HAL_TIMEOUT="100ms")
    assert result.exit_code == 1
    assert "host: its probe did not answer within 0.1 s" in result.stdout
