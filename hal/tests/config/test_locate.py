"""Which file is read."""

import os

import pytest

from hal import config
from hal.interface.errors import ConfigError


@pytest.fixture
def places(tmp_path):
    """A file in every place, each naming itself as the backend."""
    work = tmp_path / "project" / "sub" / "deep"
    work.mkdir(parents=True)
    files = {
        "argument": tmp_path / "argument.yaml",
        "variable": tmp_path / "variable.yaml",
        "above": tmp_path / "project" / "hal.yaml",
        "user": tmp_path / "home" / ".config" / "hal" / "hal.yaml",
        "xdg": tmp_path / "xdg" / "hal" / "hal.yaml",
    }
    for name, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"backend: {name}\n")
    return work, files, {"HOME": str(tmp_path / "home")}


def _backend(path, env, cwd):
    return config.load(path, env=env, cwd=cwd, sections={}).backend


def test_order_of_the_places(places):
    work, files, env = places
    named = env | {"HAL_CONFIG": str(files["variable"])}
    assert _backend(files["argument"], named, work) == "argument"
    assert _backend(None, named, work) == "variable"
    assert _backend(None, env, work) == "above"
    files["above"].unlink()
    assert _backend(None, env, work) == "user"
    assert _backend(None, env | {"XDG_CONFIG_HOME": str(files["xdg"].parents[1])}, work) == "xdg"
    assert _backend(None, env | {"XDG_CONFIG_HOME": "relative"}, work) == "user"
    files["user"].unlink()
    assert config.load(env=env, cwd=work, sections={}).path is None


def test_the_nearest_file_above_wins(places):
    work, _, env = places
    (work.parent / "hal.yaml").write_text("backend: nearer\n")
    assert _backend(None, env, work) == "nearer"


def test_a_relative_path_is_relative_to_the_working_directory(places):
    work, _, env = places
    assert _backend("../../hal.yaml", env, work) == "above"
    assert _backend(None, env | {"HAL_CONFIG": "../../hal.yaml"}, work) == "above"


def test_a_named_file_has_to_exist(places):
    work, files, env = places
    with pytest.raises(ConfigError, match=r"none\.yaml: there is no such file"):
        _backend("none.yaml", env, work)
    with pytest.raises(ConfigError, match="there is no such file"):
        _backend(None, env | {"HAL_CONFIG": str(files["user"]) + "-not"}, work)


def test_what_is_found_is_never_skipped(places):
    work, _, env = places
    (work / "hal.yaml").symlink_to(work / "nowhere")
    with pytest.raises(ConfigError, match="there is no such file"):
        _backend(None, env, work)


def test_a_removed_working_directory_is_no_place_to_search(places, tmp_path, monkeypatch):
    _, _, env = places
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert _backend(None, env, None) == "user"


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for a writer
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ConfigError, match="is not a file"):
            config.load(path, env={}, cwd=tmp_path, sections={})


def test_a_file_that_cannot_be_read(tmp_path):
    (tmp_path / "hal.yaml").symlink_to("hal.yaml")
    with pytest.raises(ConfigError, match=r"hal\.yaml: cannot be read: Too many levels"):
        config.load(env={}, cwd=tmp_path, sections={})


def test_an_impossible_path():
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load("a\0b", env={}, sections={})
