"""Discovery imports no more than it must, and a broken plug-in disturbs no other."""

import sys

import pytest

from hal.interface.errors import BackendUnavailable, UsageError
from hal.plugins import INTERFACE_VERSION, discover, installed


def test_names_alone_import_nothing(site):
    site.install("acme", "raise RuntimeError('imported')")
    (one,) = installed(site.entry_points())
    assert (one.name, one.distribution, one.version) == ("acme", "hal-acme", "1.2.3")
    assert "fake_acme" not in sys.modules


def test_a_working_plug_in(site):
    site.install("acme")
    site.install("zeta")
    registry = discover(site.entry_points())
    assert registry.names == ["acme", "zeta"]
    assert registry.broken == ()
    acme = registry.get("acme")
    assert (acme.name, acme.distribution, acme.version) == ("acme", "hal-acme", "1.2.3")
    assert acme.info.facets == ("device", "transport")
    assert registry.sections() == {"acme": acme.settings, "zeta": registry.get("zeta").settings}


def test_installed_distributions_are_found(site):
    site.install("acme")
    assert "acme" in discover().names


BREAKAGES = {
    "raise ImportError('no driver')": "importing 'fake_bad' raised ImportError: no driver",
    "import sys; sys.exit(3)": "importing 'fake_bad' raised SystemExit: 3",
    "raise BaseException('odd')": "raised BaseException: odd",
    "def (": "SyntaxError: invalid syntax",
    "class E(Exception):\n def __str__(self): raise ValueError\nraise E": "fake_bad.E: <exception str() failed>",
    "x = 1": "it has no hook hal_interface_version",
}


@pytest.mark.parametrize(("source", "reason"), BREAKAGES.items())
def test_a_plug_in_that_cannot_be_imported(site, source, reason):
    site.install("bad", source)
    _assert_broken(site, reason)


@pytest.mark.parametrize(
    ("append", "reason"),
    [
        (
            "@hookimpl\ndef hal_interface_version(): return '2.0'",
            f"interface 2.0, and this hal-core has {INTERFACE_VERSION}",
        ),
        ("@hookimpl\ndef hal_interface_version(): return '0.9'", "it is written for interface 0.9"),
        ("@hookimpl\ndef hal_interface_version(): return '1.1'", "install a newer hal-core"),
        ("@hookimpl\ndef hal_interface_version(): return 1.0", "returned 1.0 in place of a version such as '1.0'"),
        ("@hookimpl\ndef hal_interface_version(): return '1'", "returned '1' in place of a version"),
        (
            "@hookimpl\ndef hal_interface_version(): raise SystemExit(1)",
            "its hook hal_interface_version raised SystemExit: 1",
        ),
        ("hal_interface_version = lambda: '1.0'", "it has no hook hal_interface_version (functions marked with"),
        ("del hal_probe", "it has no hook hal_probe"),
        ("del hal_open_device", "it has no hook hal_open_device"),
        ("@hookimpl\ndef hal_open_transport(options): pass", "its hooks do not fit the interface"),
        ("@hookimpl\ndef hal_open_devices(settings, index): pass", "its hooks do not fit the interface"),
        (
            "@hookimpl\ndef hal_describe(): return 'bad'",
            "its hook hal_describe returned 'bad' in place of a BackendInfo",
        ),
        (
            "@hookimpl\ndef hal_describe(): return BackendInfo('bad', 'x', ['network'])",
            "its hook hal_describe raised ValueError",
        ),
        (
            "@hookimpl\ndef hal_describe(): return BackendInfo('bad', 'x', 'device')",
            "its hook hal_describe raised TypeError",
        ),
        (
            "@hookimpl\ndef hal_describe(): return BackendInfo('bad', 'x', [])",
            "its hook hal_describe raised ValueError",
        ),
        ("@hookimpl\ndef hal_describe(): return BackendInfo('good', 'x', ['device'])", "it calls itself 'good'"),
        (
            "@hookimpl\ndef hal_settings(): return dict",
            "hal_settings returned <class 'dict'> in place of an attrs class",
        ),
        ("@hookimpl\ndef hal_settings(): raise KeyError('k')", "its hook hal_settings raised KeyError: 'k'"),
        ("@attrs.frozen\nclass S:\n    x: int\n@hookimpl\ndef hal_settings(): return S", "without a default: x"),
    ],
)
def test_a_plug_in_that_breaks_its_contract(site, append, reason):
    site.install("bad", append=append)
    _assert_broken(site, reason)


def _assert_broken(site, reason):
    site.install("acme")
    registry = discover(site.entry_points())
    assert registry.get("acme").probe().available
    (broken,) = registry.broken
    assert (broken.name, broken.distribution, broken.version) == ("bad", "hal-bad", "1.2.3")
    assert reason in broken.reason
    assert "\n" not in broken.reason
    assert registry.sections()["bad"] is None
    with pytest.raises(BackendUnavailable) as caught:
        registry.get("bad")
    assert "backend 'bad' (hal-bad 1.2.3) is installed but cannot be used: " in str(caught.value)
    assert reason in str(caught.value)


def test_a_value_that_is_no_module(site):
    site.install("bad", value="fake_bad:missing")
    _assert_broken(site, "AttributeError: module 'fake_bad' has no attribute 'missing'")


def test_a_name_that_belongs_to_the_configuration(site):
    site.install("timeout")
    (broken,) = discover(site.entry_points()).broken
    assert "'timeout' is the name of a setting of HAL itself" in broken.reason


def test_a_name_declared_twice_is_broken_for_both(site):
    site.install("acme")
    site.install("acme", distribution="other-acme", version="9")
    registry = discover(site.entry_points())
    assert registry.backends == ()
    assert {one.distribution: one.reason for one in registry.broken} == {
        "hal-acme": "its name is taken by other-acme 9 as well: uninstall all but one",
        "other-acme": "its name is taken by hal-acme 1.2.3 as well: uninstall all but one",
    }
    assert "fake_acme" not in sys.modules
    with pytest.raises(BackendUnavailable, match="is taken by"):
        registry.get("acme")


def test_an_interrupt_is_not_swallowed(site):
    site.install("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover(site.entry_points())


def test_an_unknown_name(site):
    with pytest.raises(UsageError, match="no backend is installed; try `pip install hal-acme`"):
        discover([]).get("acme")
    site.install("acme")
    registry = discover(site.entry_points())
    with pytest.raises(UsageError, match=r"unknown backend 'acne': allowed are acme; did you mean 'acme'\?$"):
        registry.get("acne")
    with pytest.raises(UsageError, match="allowed are acme; if it exists, `pip install hal-other` adds it"):
        registry.get("other")
