"""`hal info`."""

import importlib.metadata
import json


def test_versions_and_backends(hal, plugins):
    plugins.backend("acme")
    plugins.declare("hal.backends", "bad", "no_such_module")
    result = hal("info")
    assert result.exit_code == 0
    assert importlib.metadata.version("hal-core") in result.stdout
    (acme,) = [line for line in result.stdout.splitlines() if "acme" in line]
    (bad,) = [line for line in result.stdout.splitlines() if "bad" in line]
    assert "transport" in acme
    assert "OK" in acme
    assert "broken" in bad
    assert "No module named 'no_such_module'" in bad
    assert "\x1b" not in result.stdout


def test_nothing_installed(hal):
    assert "No backend is installed" in hal("info").stdout


def test_json(hal, plugins):
    plugins.backend("acme")
    plugins.declare("hal.backends", "bad", "no_such_module")
    plugins.add("hal.commands", "bench", lambda: None)
    facts = json.loads(hal("info", "--json").stdout)
    assert facts["packages"]["hal-core"] == importlib.metadata.version("hal-core")
    acme, bad = facts["backends"]
    assert (acme["name"], acme["state"], acme["facets"], acme["reason"]) == ("acme", "ok", ["transport"], None)
    assert (bad["name"], bad["state"]) == ("bad", "broken")
    assert "no_such_module" in bad["reason"]
    assert [(one["name"], one["state"]) for one in facts["commands"]] == [("bench", "ok")]


def test_config(hal, plugins, tmp_path):
    plugins.backend("acme")
    (tmp_path / "hal.yaml").write_text("backend: acme\nacme: {depth: 64K}\nalgorithms: {reduce: [{algorithm: ring}]}\n")
    result = hal("info", "--config", HAL_TIMEOUT="500ms", HAL_TIMEOT="1")
    assert result.exit_code == 0
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│")}
    assert "hal.yaml:1" in rows["backend"]
    assert "64K" in rows["acme.depth"]
    assert "hal.yaml:2" in rows["acme.depth"]
    assert "500ms" in rows["timeout"]
    assert "environment HAL_TIMEOUT" in rows["timeout"]
    assert "default" in rows["bootstrap.timeout"]
    assert "HAL_TIMEOT is set and is no setting; did you mean HAL_TIMEOUT?" in result.stdout


def test_config_as_json(hal, plugins, tmp_path):
    plugins.backend("acme")
    file = tmp_path / "other.yaml"
    file.write_text("acme: {depth: 64K}\nalgorithms: {reduce: [{algorithm: ring, ranks: [2]}]}\n")
    facts = json.loads(hal("--config", str(file), "info", "--config", "--json").stdout)
    assert facts["path"] == str(file)
    assert facts["settings"]["acme.depth"] == {"value": 65536, "origin": {"kind": "file", "text": "other.yaml:1"}}
    rule = {"algorithm": "ring", "plan": None, "max_bytes": None, "ranks": [2], "in_place": False}
    assert facts["settings"]["algorithms.reduce"]["value"] == [rule]
    assert facts["settings"]["timeout"] == {"value": 30.0, "origin": {"kind": "default", "text": "default"}}
