"""The pytest plug-in: it runs the suite's tests on ranks, gates them by what is declared, and keeps the results.

It is loaded in every pytest run where this package is installed, and does nothing in one that collects none of the
suite's tests.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from hal.interface.errors import HalError
from hal_conformance import SUITE, next_step, report, text, unwritten
from hal_conformance.answers import Outcome
from hal_conformance.clauses import clauses
from hal_conformance.collecting import (
    check_clauses,
    clause_ids,
    is_ours,
    limit_of,
    profile_of,
    rank_parameters,
    test_id,
    without_outcome,
)
from hal_conformance.conductor import Conductor, Stage, TestFailed
from hal_conformance.results import FAILURES, Result
from hal_conformance.settings import OPTIONS, PROFILES, Settings, settings_of

_SETTINGS = pytest.StashKey[Settings]()
_CONDUCTOR = pytest.StashKey[Conductor]()
_ENDED = pytest.StashKey[tuple[Outcome, str]]()
_VACUOUS = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options."""
    group = parser.getgroup("hal conformance")
    for name, attributes in OPTIONS:
        group.addoption(name, **attributes)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Declare the suite's marks, and have pytest write its report beside the suite's own."""
    if (folder := config.getoption("--hal-report")) is not None and not config.option.xmlpath:
        config.option.xmlpath = str(Path(folder) / report.JUNIT)
    for line in (
        "clause(id, ...): the clauses of the specification that a test decides",
        "ranks(which, least=1, forms=('processes', 'threads')): one, pair, or group: on what the test runs",
        "lacks(capability): the test is of what happens where a capability is not declared",
        "full: left out in a quick run",
        "limit(seconds): how long the test may take",
    ):
        config.addinivalue_line("markers", line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test of the suite run on the ranks that it is for."""
    if "stage" in metafunc.fixturenames and is_ours(metafunc.definition):
        parameters = rank_parameters(metafunc.definition, _settings(metafunc.config))
        metafunc.parametrize("_world", parameters, indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check the clauses of the suite's tests, and leave out those that this run is not for."""
    ours = [item for item in items if is_ours(item)]
    if not ours:
        return
    settings = _settings(config)
    complete = {item.path for item in ours} >= set(SUITE.glob("test_*.py"))
    check_clauses(ours, complete=complete)
    expected = {item: without_outcome(item, settings) for item in ours}
    wanted = [item for item in ours if expected[item].why == "not reached"]
    left_out = [item for item in ours if expected[item].why != "not reached"]
    if not wanted:
        raise pytest.UsageError("no test of the suite is of this profile, clause and id")
    if not config.option.collectonly:
        conductor = config.stash[_CONDUCTOR] = Conductor(settings)
        conductor.expect(expected.values())
        try:
            conductor.subject  # noqa: B018 -- says at once where the backend cannot be tested
            conductor.read_known_failures([test_id(item) for item in ours] if complete else [])
        except HalError as error:
            conductor.close()
            raise pytest.UsageError(str(error)) from None
    order = {profile: number for number, profile in enumerate(PROFILES)}
    wanted.sort(key=lambda item: order[profile_of(item)])
    for item in wanted:  # of which pytest makes properties in its own report
        item.user_properties += [("profile", profile_of(item)), ("clauses", " ".join(clause_ids(item)))]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not is_ours(item)] + wanted


def pytest_unconfigure(config: pytest.Config) -> None:
    """End all ranks."""
    if (conductor := config.stash.get(_CONDUCTOR, None)) is not None:
        conductor.close()


# fixtures


@pytest.fixture
def _world(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def stage(request: pytest.FixtureRequest, _world: tuple[int, bool]) -> Stage:
    """Where a test of the suite runs that conducts its ranks by itself."""
    item = request.node
    size, threads = _world
    conductor = request.config.stash[_CONDUCTOR]
    return Stage(
        conductor,
        test_id(item),
        clause_ids(item),
        size,
        threads=threads,
        limit=limit_of(item, _settings(request.config)),
    )


@pytest.fixture
def rank(stage: Stage) -> None:
    """A test with this argument is run on every rank, which gets its `hal_conformance.rank.Rank` here."""


# running


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Leave out a test whose clauses apply to a capability that is not declared."""
    yield
    if is_ours(item):
        _gate(item)


def _gate(item: pytest.Item) -> None:
    subject = item.config.stash[_CONDUCTOR].subject
    lacks = item.get_closest_marker("lacks")
    if lacks is not None and subject.applies(lacks.args[0]):
        item.stash[_VACUOUS] = True
        _skip(item, f"{lacks.args[0]} is declared")
    for one in clause_ids(item):
        feature = clauses()[one].feature
        if not subject.applies(feature):
            _skip(item, f"{feature} is not declared")


def _skip(item: pytest.Item, why: str) -> None:
    item.stash[_ENDED] = ("not_supported", why)
    pytest.skip(why)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a test of the suite, on its ranks where it has a `rank`; an expected failure is none."""
    if not is_ours(pyfuncitem):
        return None
    failed: TestFailed | None = None
    try:
        _call(pyfuncitem)
    except TestFailed as error:
        failed = error
    entry = pyfuncitem.config.stash[_CONDUCTOR].known_failure(test_id(pyfuncitem))
    if failed is not None and failed.outcome == "resource":
        pyfuncitem.stash[_ENDED] = ("resource", failed.happened)
        pytest.skip(str(failed))
    elif entry is not None and failed is None:
        message = f"it passes, though known to fail: {entry.reason} ({entry.url}); remove {entry.pattern!r}"
        pyfuncitem.stash[_ENDED] = ("xpass", message)
        pytest.fail(message, pytrace=False)
    elif failed is not None and entry is not None and (entry.kind == "xfail" or failed.refused):
        outcome: Outcome = "xfail" if entry.kind == "xfail" else "not_supported"
        pyfuncitem.stash[_ENDED] = (outcome, f"{entry.reason} ({entry.url})")
        pytest.xfail(entry.reason)
    elif failed is not None:
        notes = getattr(failed, "__notes__", [])
        pyfuncitem.stash[_ENDED] = (failed.outcome, "\n".join([failed.happened, *notes]))
        pytest.fail("\n".join([str(failed), *notes]), pytrace=False)
    return True


def _call(item: pytest.Function) -> None:
    arguments: dict[str, Any] = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}
    if "rank" not in arguments:
        item.obj(**arguments)
        return
    del arguments["rank"]
    stage = item.funcargs["stage"]
    assert isinstance(stage, Stage)
    stage.run(f"hal_conformance.suite.{item.path.stem}:{item.originalname}", **arguments)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the result of a test of the suite."""
    told = yield
    if is_ours(item) and (told.when == "call" or not told.passed):
        outcome, detail = item.stash.get(_ENDED, ("pass", ""))
        if told.failed and outcome == "pass":
            outcome, detail = "fail", told.longreprtext
        elif told.skipped and outcome == "pass":  # no size of a group is large enough for it
            outcome, detail = "resource", "it needs larger groups than --ranks allows"
        result = Result(
            test_id(item),
            profile_of(item),
            tuple(clause_ids(item)),
            outcome,
            round(told.duration, 4),
            detail,
            item.stash.get(_VACUOUS, False),
            _rerun(item) if outcome in FAILURES else "",
        )
        item.config.stash[_CONDUCTOR].add(result)
    return told


def _rerun(item: pytest.Item) -> str:
    call = getattr(item, "callspec", None)  # pytest has it where a test has parameters
    size = call.params["_world"][0] if call is not None and "_world" in call.params else 1
    return _settings(item.config).rerun(test_id(item), size if size > 1 else None)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Give failures for want of a primitive a name of their own, so that nobody has to read hundreds alike."""
    return ("not written yet", "n", "NOT WRITTEN YET") if _is_unwritten(report) else None


def _is_unwritten(report: pytest.TestReport | pytest.CollectReport) -> bool:
    if not isinstance(report, pytest.TestReport):  # a file that could not be read has no clause
        return False
    return report.failed and "clause" in report.keywords and bool(unwritten.sentence(report.longreprtext))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what has come of it, and write it down where that is asked for."""
    conductor = config.stash.get(_CONDUCTOR, None)
    if conductor is None or not conductor.began:
        return
    run = conductor.run()
    terminalreporter.section("conformance")
    for line in [*next_step.not_written(run), *text.summary(run), *next_step.next_step(run)]:
        terminalreporter.write_line(line)
    if conductor.settings.report is not None:
        report.write(run, clauses(), conductor.settings.report)
        terminalreporter.write_line(f"report: {conductor.settings.report / report.PAGE}")


def _settings(config: pytest.Config) -> Settings:
    if _SETTINGS not in config.stash:
        try:
            config.stash[_SETTINGS] = settings_of(config)
        except HalError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_SETTINGS]
