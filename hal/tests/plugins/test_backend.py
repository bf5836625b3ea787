"""What a usable plug-in's hooks return reaches the caller; what they raise is named and never hidden."""

import pytest

from hal import config
from hal.interface.errors import BackendUnavailable, ConfigError, NotSupported, UsageError
from hal.plugins import Problem, discover


@pytest.fixture
def backend(site):
    """Install the fake backend with some hooks replaced, and get it."""

    def backend(append=""):
        site.install("acme", append=append)
        return discover(site.entry_points()).get("acme")

    return backend


def test_opening_hands_over_the_settings(backend):
    acme = backend()
    own = acme.settings(depth=9)
    assert acme.open_device(own, 1) == ("device", own, 1)
    assert acme.open_device() == ("device", acme.settings(), 0)
    assert acme.open_transport(own) == ("transport", own)


def test_a_backend_without_settings_has_an_empty_section(backend, site, tmp_path):
    acme = backend("del hal_settings")
    sections = discover(site.entry_points()).sections()
    assert config.load(env={}, cwd=tmp_path, sections=sections).section("acme") == acme.settings()
    with pytest.raises(ConfigError, match="allowed in acme are none"):
        config.load(env={"HAL_ACME_DEPTH": "1"}, cwd=tmp_path, sections=sections)


def test_the_section_of_a_backend(backend, site, tmp_path):
    acme = backend()
    sections = discover(site.entry_points()).sections()
    (tmp_path / "hal.yaml").write_text("acme: {depth: 7}\n")
    loaded = config.load(env={}, cwd=tmp_path, sections=sections)
    assert acme.open_transport(loaded.section("acme")) == ("transport", acme.settings(depth=7))


def test_a_facet_that_is_not_offered(backend):
    acme = backend("@hookimpl\ndef hal_describe(): return BackendInfo('acme', 'x', ['transport'])\ndel hal_open_device")
    with pytest.raises(NotSupported, match="backend 'acme' offers no device: its facets are transport"):
        acme.open_device()
    assert acme.open_transport()[0] == "transport"


def test_errors_of_opening(backend):
    acme = backend("""
    from hal.interface.errors import UsageError

    @hookimpl
    def hal_open_device(settings, index):
        if index:
            raise UsageError(f"there is no device {index}")
        raise OSError("no driver")

    @hookimpl
    def hal_open_transport(settings):
        return None
    """)
    with pytest.raises(BackendUnavailable, match="backend 'acme' could not open its device: OSError: no driver"):
        acme.open_device()
    with pytest.raises(UsageError, match="there is no device 3"):
        acme.open_device(index=3)
    with pytest.raises(BackendUnavailable, match="its hook returned nothing"):
        acme.open_transport()


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("raise SystemExit('driver gone')", "its probe failed: SystemExit: driver gone"),
        ("return True", "its hook hal_probe returned True in place of a Probe"),
        ("return Probe(available='yes')", "TypeError"),
        ("return Probe(available=True, devices='gpu')", "a sequence is needed, not the text 'gpu'"),
        ("return Probe(available=True, problems=['x'])", "TypeError"),
    ],
)
def test_a_probe_never_raises(backend, body, what):
    probe = backend(f"@hookimpl\ndef hal_probe():\n    {body}").probe()
    assert not probe.available
    (problem,) = probe.problems
    assert what in problem.what
    assert problem.remedy == "report it to the makers of hal-acme 1.2.3"


def test_a_probe_reports_problems(backend):
    probe = backend("""
    from hal.plugins import Problem

    @hookimpl
    def hal_probe():
        return Probe(available=False, problems=[Problem("no driver", "install it")])
    """).probe()
    assert probe.problems == (Problem("no driver", "install it"),)
