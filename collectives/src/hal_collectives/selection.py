"""Which algorithm a call uses: the one that the user pinned, or else that of a table.

Table and pins have one form: for each collective a name, or rules of which the first that fits is taken (`ranks`,
`max_bytes`, `in_place`, `algorithm`); pins may name a file (`plan`) in place of an algorithm. Sizes are those of
nccl-tests: the bytes of the larger buffer, `count * itemsize` of it.
All ranks find the same answer, since it depends on nothing but what they agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

from hal.config import AlgorithmRule, Algorithms, kinds
from hal.config.algorithms import algorithm_choice
from hal.config.document import parse
from hal.interface.errors import ConfigError, UsageError, unknown_name
from hal.plan.collective import Collective
from hal_collectives.algorithms import Algorithm, algorithms, get
from hal_collectives.plan_files import PlanFile, plan_file

DEFAULT_TABLE = "selection.yaml"
HOSTS_TABLE = "selection_hosts.yaml"


@dataclass(frozen=True)
class SelectionTable:
    """For each collective its rules, in the order in which they are tried."""

    rules: Mapping[str, Sequence[AlgorithmRule]]
    label: str
    """What messages call the table: its file name."""
    keeps_order: bool = False
    """Whether algorithms that reduce in another order than that of the ranks are passed over where that shows."""

    @classmethod
    def parse(cls, content: bytes, label: str) -> SelectionTable:
        """The table in the YAML text `content`; `ConfigError` naming line, problem and what is allowed."""
        document = parse(content, label)
        if not isinstance(document.data, dict):
            raise ConfigError(f"{label}:1: a selection table is a mapping from collectives to rules")
        known = [c.label for c in Collective if c is c.uniform and algorithms(c)]
        read_rules = algorithm_choice()
        table: dict[str, Sequence[AlgorithmRule]] = {}
        for collective, raw in document.data.items():
            where = f"{label}:{document.line((collective,))}"
            if collective not in known:
                raise ConfigError(f"{where}: {unknown_name('collective', collective, known)}")
            try:
                table[collective] = read_rules(raw)
                for rule in table[collective]:
                    if rule.algorithm is None:
                        raise ValueError("a selection table names algorithms, not plan files")
                    get(collective, rule.algorithm)
            except kinds.BadValue as error:
                path, problem = error.problems[0]
                raise ConfigError(f"{label}:{document.line((collective, *path))}: {collective}: {problem}") from None
            except ValueError as error:
                raise ConfigError(f"{where}: {collective}: {error}") from None
        return cls(table, label)


@lru_cache(maxsize=1)
def default_table() -> SelectionTable:
    """The table that comes with this package."""
    return _own_table(DEFAULT_TABLE)


@lru_cache(maxsize=1)
def hosts_table() -> SelectionTable:
    """The table that comes with this package for groups on several hosts."""
    rules = {**default_table().rules, **_own_table(HOSTS_TABLE).rules}
    return SelectionTable(rules, HOSTS_TABLE, keeps_order=True)


def _own_table(name: str) -> SelectionTable:
    return SelectionTable.parse((resources.files("hal_collectives") / name).read_bytes(), name)


def table_in(path: str) -> SelectionTable:
    """The table in a file; `ConfigError` where it cannot be read or is none, naming file and line."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return SelectionTable.parse(content, path)


def choose(
    collective: str | Collective,
    size: int,
    nbytes: int,
    *,
    mapped: bool,
    in_place: bool = False,
    all_in_place: bool = True,
    pins: Algorithms | None = None,
    table: SelectionTable | None = None,
    ranks_per_host: int | None = None,
    any_order: bool = False,
    fits: Callable[[Algorithm], bool] = lambda _: True,
) -> Algorithm:
    """The algorithm for a call of `nbytes` bytes on `size` ranks.

    `mapped` says that the buffers of every rank are registered memory, `in_place` that output and input share memory
    on any rank, `all_in_place` that on every rank the output is the input. A variable-count form is chosen by the rules
    and pins of its uniform collective. `ranks_per_host` is how many ranks each host has, None where these differ or do
    not follow each other; a table's algorithms that treat hosts as nodes are for more than one. `any_order` says that
    the call gives the same bits in whatever order it reduces. `fits` says whether an algorithm has room enough; one of
    the table that has not is passed over, and the last of these taken where no other serves the call.

    A rule of `pins` that fits comes first; one of a plan file fits the sizes alone that the file is made for. It is
    passed over where its algorithm cannot serve these buffers: it reaches others' buffers and these are not mapped, it
    is not made for in place, or not for variable counts; the table then decides. `UsageError` where a pinned algorithm
    does not exist or does not serve so many ranks, and where no rule of the table fits.
    """
    asked = Collective.of(collective)
    uniform = asked.uniform.label

    def allowed(algorithm: Algorithm) -> bool:
        return (
            (mapped or not algorithm.mapped)
            and (algorithm.in_place or not in_place)
            and (algorithm.variable or asked is asked.uniform)
        )

    def waits_for_in_place(rule: AlgorithmRule, algorithm: Algorithm) -> bool:
        return rule.in_place and algorithm.mapped and not all_in_place

    as_plain = partial(
        choose,
        collective,
        size,
        nbytes,
        mapped=False,
        in_place=in_place,
        pins=pins,
        table=table,
        ranks_per_host=ranks_per_host,
        any_order=any_order,
        fits=fits,
    )
    ranks_per_host = ranks_per_host or size
    several = 1 < ranks_per_host < size  # hosts of several ranks
    for rule in getattr(pins, uniform, None) or ():
        if rule.fits(nbytes, size):
            pinned = get(uniform, rule.name) if rule.plan is None else plan_file(uniform, rule.plan)
            if isinstance(pinned, PlanFile) and not pinned.fits(nbytes):
                continue
            if not pinned.supports(size):
                raise UsageError(f"pinned for {uniform}: {pinned.name!r} serves {pinned.ranks}, not {size}")
            if allowed(pinned) and waits_for_in_place(rule, pinned):
                return as_plain()
            if allowed(pinned):
                return pinned.in_nodes(ranks_per_host) if pinned.by_node and several else pinned
            break
    table = table or default_table()
    too_large: Algorithm | None = None
    for rule in table.rules.get(uniform, ()):
        candidate = get(uniform, rule.name)
        if not (rule.fits(nbytes, size) and candidate.supports(size) and allowed(candidate)):
            continue
        if table.keeps_order and not (candidate.in_order or any_order):
            continue
        if waits_for_in_place(rule, candidate):
            return as_plain()
        if candidate.by_node and not several:
            continue
        candidate = candidate.in_nodes(ranks_per_host) if candidate.by_node else candidate
        if fits(candidate):
            return candidate
        too_large = candidate
    if too_large is not None:
        return too_large
    kind = "mapped" if mapped else "plain"
    raise UsageError(
        f"{table.label} has no algorithm for {asked.label} of {nbytes} bytes on {size} ranks with {kind} buffers"
    )
