"""`hal new-backend`: what it writes is whole, says what to do, and is refused where it cannot be written."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from hal.device import include_path
from hal.interface import device, executor, transport
from hal.interface.errors import UsageError
from hal.plugins import discover
from hal_conformance import unwritten
from hal_conformance.clauses import clauses
from hal_conformance.new_backend.names import Names, check_name
from hal_conformance.new_backend.primitives import primitives, ranges, stub
from hal_conformance.new_backend.writing import Choices, render, write
from hal_conformance.next_step import page_of

SPECIFICATION = Path(__file__).parents[2] / "docs" / "spec"
SCRIPTS = Path(sysconfig.get_path("scripts"))
BOTH = ("device", "transport")
VARIANTS = [
    Choices(Names("acme")),
    Choices(Names("net"), ("transport",)),
    Choices(Names("my_accelerator_of_a_long_name_02"), BOTH, "device-code"),
]
REAL = {"hal_interface_version", "hal_describe", "hal_settings", "Device.capabilities"}
"""Primitives that are written as they have to be, so that no stub names them."""


def ids_of(choices: Choices) -> str:
    return choices.names.name


# what the stubs say


def test_every_clause_belongs_to_a_primitive() -> None:
    named = {clause.id for those in primitives().values() for clause in those}
    assert named == set(clauses())


def test_the_page_of_a_clause_is_the_one_it_is_on() -> None:
    for name in clauses():
        assert f"**{name}**" in (SPECIFICATION.parents[1] / page_of(name)).read_text("utf-8")


def test_every_primitive_has_its_stub() -> None:
    files = {**render(Choices(Names("acme"), BOTH, "device-code")), **render(Choices(Names("other")))}
    text = "\n".join(files.values())
    assert {name for name in primitives() if f'"{name}"' in text} == set(primitives()) - REAL


def test_a_stub_quotes_its_clauses_and_raises_what_the_suite_knows() -> None:
    lines = stub("Device.free").splitlines()
    assert lines[1] == "# HAL-MEM-006 (MUST) Freeing twice raises `UsageError`."
    text = "not written yet: Device.free; see HAL-MEM-005 to HAL-MEM-007, HAL-MEM-022, HAL-MEM-023; docs/spec/memory.md"
    assert (
        lines[-1] == 'raise unwritten("Device.free", "HAL-MEM-005 to HAL-MEM-007, HAL-MEM-022, HAL-MEM-023", "memory")'
    )
    assert unwritten.sentence(f"its probe failed: NotImplementedError: {text} (a remedy)") == text
    assert unwritten.name(text) == "Device.free"


def test_a_stub_of_many_clauses_gives_their_ids() -> None:
    assert "# HAL-RED-001 to HAL-RED-017: docs/spec/reductions.md" in stub("Executable.run").splitlines()


def test_a_primitive_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match=r"unknown primitive 'Device\.alocate'.*did you mean 'Device\.allocate'"):
        stub("Device.alocate")


def test_ranges() -> None:
    known = clauses()
    some = [known[f"HAL-MEM-{number:03}"] for number in (1, 2, 4, 5, 6, 30)]
    assert ranges([*some, known["HAL-STR-001"]]) == [
        "HAL-MEM-001, HAL-MEM-002",
        "HAL-MEM-004 to HAL-MEM-006",
        "HAL-MEM-030",
        "HAL-STR-001",
    ]


def test_what_is_said_is_found_in_errors_that_follow() -> None:
    error = LookupError("something else")
    error.__cause__ = NotImplementedError("not written yet: Device.allocate")
    assert unwritten.said_by(error) == "not written yet: Device.allocate"
    assert unwritten.said_by(ValueError("another one")) == ""


# what is written


@pytest.mark.parametrize("choices", VARIANTS, ids=ids_of)
def test_files_are_as_a_package_has_them(choices: Choices) -> None:
    files = render(choices)
    names = choices.names
    manifest = tomllib.loads(files["pyproject.toml"])
    assert manifest["project"]["name"] == names.distribution
    assert manifest["project"]["entry-points"]["hal.backends"] == {names.name: f"{names.package}.plugin"}
    assert yaml.safe_load(files[f"src/{names.package}/hal_known_failures.yaml"]) == {"failures": []}
    assert {".gitignore", "README.md", "CLAUSES.md", "tests/test_backend.py"} <= set(files)
    assert (f"src/{names.package}/device.py" in files) == ("device" in choices.facets)
    assert (f"src/{names.package}/transport.py" in files) == ("transport" in choices.facets)
    for path, text in files.items():
        assert not re.search(r"\{\{|\{%", text), path
        assert text == "" or (text.endswith("\n") and not text.endswith("\n\n")), path
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert max(map(len, text.splitlines()), default=0) <= 120, path


def test_device_code_brings_the_template_of_its_intrinsics() -> None:
    files = render(VARIANTS[2])
    template = include_path() / "hal" / "device" / "intrinsics_template.h"
    assert files[f"src/{VARIANTS[2].names.package}/include/intrinsics.h"] == template.read_text("utf-8")


def test_the_clauses_that_apply_are_listed() -> None:
    listed = render(VARIANTS[1])["CLAUSES.md"]
    assert "HAL-TRN-001 (MUST)" in listed
    assert "HAL-DSC-001 (MUST)" in listed
    assert "HAL-MEM-001" not in listed


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of both facets where it can be imported, as one that is installed."""
    folder = write(Choices(Names("acme"), BOTH, "device-code"), tmp_path)
    made_known(folder, "acme")
    monkeypatch.syspath_prepend(str(folder / "src"))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "hal_acme":
            del sys.modules[name]


def made_known(folder: Path, name: str) -> None:
    """Beside the source, what installing it would leave."""
    described = folder / "src" / f"hal_{name}-0.1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: hal-{name}\nVersion: 0.1.0\n", "utf-8")
    (described / "entry_points.txt").write_text(f"[hal.backends]\n{name} = hal_{name}.plugin\n", "utf-8")


def test_it_is_found_described_and_probed(package: Path) -> None:
    found = discover().get("acme")
    assert set(found.info.facets) == set(BOTH)
    assert {one.value for one in found.info.capabilities} == {"compile", "executor", "get", "atomic_add"}
    problem = found.probe().problems[0]
    assert "not written yet: hal_probe; see HAL-DSC-005" in problem.what


def test_every_primitive_is_there_and_says_that_it_is_not_written(package: Path) -> None:
    def module(name: str) -> ModuleType:
        return importlib.import_module(f"hal_acme.{name}")

    settings = module("settings").AcmeSettings()
    alone = executor.Membership(0, 1, lambda value: [value], (0,))
    made = [
        (device.Device, module("device").AcmeDevice(settings, 0)),
        (device.Stream, module("streams").AcmeStream()),
        (device.Event, module("streams").AcmeEvent()),
        (executor.Executor, module("executor").AcmeExecutor(alone, settings)),
        (executor.Executable, module("executor").AcmeExecutable()),
        (transport.Transport, module("transport").AcmeTransport(settings)),
        (transport.Connection, module("transport").AcmeConnection()),
        (transport.Registration, module("transport").AcmeRegistration()),
    ]
    met = set()
    for interface, one in made:
        for name in {*interface.__abstractmethods__, "create_executor"}:
            primitive = f"{interface.__name__}.{name}"
            if primitive in REAL or not hasattr(interface, name) or primitive == "Transport.capabilities":
                continue
            with pytest.raises(NotImplementedError) as caught:  # noqa: PT012 -- a property raises when it is looked at
                method = getattr(one, name)
                method(*[None] * len(inspect.signature(method).parameters))
            assert unwritten.name(str(caught.value)) == primitive
            met.add(primitive)
    hooks = {name for name in primitives() if name.startswith("hal_")}
    assert met == set(primitives()) - REAL - hooks - {"Device.compile", "Device.launch"}


def hal(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `hal`, with the package in `folder` installed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HAL_")}
    return subprocess.run(
        [SCRIPTS / "hal", *map(str, arguments)],
        cwd=folder.parent,
        env=environment | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_suite_says_what_comes_next(package: Path) -> None:
    done = hal("conformance", "--backend", "acme", "--quick", "--profile", "discovery", folder=package)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    assert "hal_open_device  fails" in done.stdout
    *_, head, what, again, _count = done.stdout.splitlines()
    assert (
        head == "next: HAL-DSC-005 (MUST) `hal_probe` returns a `Probe`, as often as it is called, and raises nothing."
    )
    assert what.startswith("  not written yet: hal_probe; see HAL-DSC-005")
    assert again.startswith("  test it alone: hal conformance --backend acme")


# what is refused


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Acme", "such as 'acme'"),
        ("my chip", "such as 'my_chip'"),
        ("9lives", "allowed are a-z"),
        ("", "allowed are a-z"),
        ("a__b", "allowed are a-z"),
        ("acmé", "allowed are a-z"),
        ("../acme", "such as 'acme'"),
        ("a" * 33, "at most 32 characters"),
        ("class", "a keyword of Python"),
        ("match", "a keyword of Python"),
        ("timeout", "a setting of HAL itself"),
        ("core", "a package hal-core"),
    ],
)
def test_names_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"^a backend cannot be called ") as caught:
        check_name(name)
    assert message in str(caught.value)


def test_a_name_that_is_taken(package: Path) -> None:
    with pytest.raises(UsageError, match=r"a backend of this name is installed \(hal-acme 0\.1\.0\)"):
        check_name("acme")


def test_names_that_can_be_used() -> None:
    names = check_name("my_chip_2")
    assert (names.distribution, names.package, names.prefix) == ("hal-my-chip-2", "hal_my_chip_2", "MyChip2")


def test_a_folder_that_exists_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "hal-acme").mkdir()
    with pytest.raises(UsageError, match="hal-acme exists already: give another --directory, or remove it"):
        write(VARIANTS[0], tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["hal-acme"]


def test_nothing_half_written_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(UsageError, match="hal-acme cannot be written: No space left on device"):
            write(VARIANTS[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        write(VARIANTS[0], tmp_path / "file")


def test_the_command_writes_and_says_what_to_do(tmp_path: Path) -> None:
    done = hal("new-backend", "acme", "--directory", tmp_path / "new", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"pip install --editable {tmp_path / 'new' / 'hal-acme'}" in done.stdout
    assert (tmp_path / "new" / "hal-acme" / "pyproject.toml").is_file()
    again = hal("new-backend", "acme", "--directory", tmp_path / "new", folder=tmp_path)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert len(again.stderr.splitlines()) == 1


# how it is written


@pytest.mark.slow
@pytest.mark.parametrize("choices", VARIANTS, ids=ids_of)
def test_style_and_types_are_right_as_it_is_generated(choices: Choices, tmp_path: Path) -> None:
    folder = write(choices, tmp_path)
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        done = subprocess.run(
            [SCRIPTS / command[0], *command[1:]], cwd=folder, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
