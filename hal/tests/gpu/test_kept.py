"""Files of what takes long to make: made once, whole, and by this user."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hal.gpu import kept
from hal.gpu.kept import kept_or_made


def never() -> bytes:
    raise AssertionError("it is kept")


def test_it_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "key"
    assert kept_or_made(path, lambda: b"made") == b"made"
    assert kept_or_made(path, never) == b"made"
    assert os.listdir(path.parent) == ["key"], "nothing else is left"


def test_all_who_ask_at_once_get_what_one_makes(tmp_path: Path) -> None:
    made: list[int] = []
    together = threading.Barrier(4, timeout=10)

    def make() -> bytes:
        made.append(1)
        time.sleep(0.2)  # the others come meanwhile
        return b"made"

    def ask(_: int) -> bytes:
        together.wait()
        return kept_or_made(tmp_path / "key", make)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(4))) == {b"made"}
    assert len(made) == 1
    assert os.listdir(tmp_path) == ["key"]


def test_who_makes_it_for_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PATIENCE", 0.1)
    begun, over = threading.Event(), threading.Event()

    def slowly() -> bytes:
        begun.set()
        assert over.wait(10)
        return b"slow"

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(kept_or_made, tmp_path / "key", slowly)
        assert begun.wait(10)
        assert kept_or_made(tmp_path / "key", lambda: b"quick") == b"quick"
        over.set()
        assert slow.result(10) == b"slow"


def test_what_fails_is_passed_on_and_made_again(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise ValueError("no program")

    with pytest.raises(ValueError, match="no program"):
        kept_or_made(tmp_path / "key", fails)
    assert os.listdir(tmp_path) == []
    assert kept_or_made(tmp_path / "key", lambda: b"made") == b"made"


@pytest.mark.parametrize("damage", ["cut off", "altered", "for all to write", "a link"])
def test_what_is_not_whole_or_not_ours_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "key"
    kept_or_made(path, lambda: b"first")
    match damage:
        case "cut off":
            path.write_bytes(path.read_bytes()[:-1])
        case "altered":
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        case "for all to write":
            path.chmod(0o666)
        case "a link":
            path.symlink_to(path.rename(tmp_path / "elsewhere"))
    assert kept_or_made(path, lambda: b"second") == b"second"
    assert kept_or_made(path, never) == b"second"


def test_where_nothing_can_be_kept_it_is_made_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for content in (b"one", b"two"):
        assert kept_or_made(tmp_path / "file" / "key", lambda content=content: content) == content
