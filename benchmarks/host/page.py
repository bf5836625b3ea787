"""The page people read, written from the results alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.host.cases import FORMS, Case, show_bytes, show_form
from benchmarks.host.limits import DRAM_BYTES
from benchmarks.host.markdown import number, table
from benchmarks.host.results import Entry, Report, Row
from benchmarks.host.summary import summary

_SOURCES = {
    "clean": "clean source: nothing but the collective itself writes the buffers",
    "dirty": "dirty source: every rank refills its input before each call; the time of refilling alone is subtracted",
}
_ABOUT = {
    "all_reduce": "float32 sum",
    "all_gather": "float32; size of the output",
    "reduce_scatter": "float32 sum; size of the input",
    "broadcast": "float32; every rank is the root in turn",
    "reduce": "float32 sum; every rank is the root in turn",
    "all_to_all": "float32; size of the input",
    "send_recv": "float32; ranks exchange messages in pairs, one there, one back, and the time is that of one message",
    "barrier": "",
}


def write_page(report: Report, path: Path, plots: Sequence[Path]) -> None:
    """Write the page; `plots` lie in the same folder."""
    parts = [_head(report), _machine(report), _contenders(report), _limits(report)]
    parts += [summary(report)]
    parts += [f"![{plot.stem}]({plot.name})" for plot in plots]
    parts += [_table(report, case, rows) for case, rows in report.tables()]
    parts += [_missing(report), _method(report)]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")


def _head(report: Report) -> str:
    return (
        "# HAL beside other libraries, on one host\n\n"
        f"Measured on {report.machine['date']} in {_duration(report.seconds)} by `{report.command}`; every number"
        " here comes from that one run, and the same command measures them on your machine. Times are microseconds a"
        " call, medians over rounds; «best peer ÷ HAL» above 1 means that HAL is faster than the fastest of the others."
        " Compare within a row: absolute times depend on the machine and, on a virtual one, on the hour."
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _machine(report: Report) -> str:
    m = report.machine
    commit = f", commit {m['commit']}" if m["commit"] else ""
    rows = [
        ("processor", f"{m['cpu']}, {m['cores']} cores usable{', in a virtual machine' if m['hypervisor'] else ''}"),
        ("caches", ", ".join(f"{level} {size}" for level, size in m["caches"].items()) or "unknown"),
        ("memory", f"{m['memory_gib']} GiB"),
        ("kernel", m["kernel"]),
        ("Python, NumPy", f"{m['python']}, {m['numpy']}"),
        ("HAL", f"{report.versions.get('hal-plain', 'not run')}{commit}"),
        ("cores that all ranks together used while asleep", _by_ranks(report.idle_cores)),
        ("cores that other processes used meanwhile", _by_ranks(report.foreign_cores)),
    ]
    text = "## Machine\n\n" + table(("", ""), rows)
    if any(report.is_disturbed(ranks) for ranks in report.foreign_cores):
        text += "\n\n**Other processes were busy during this run: its numbers, ratios included, mean little.**"
    return text


def _by_ranks(cores: dict[int, float]) -> str:
    return ", ".join(f"{value:.2f} at {ranks} ranks" for ranks, value in cores.items())


def _contenders(report: Report) -> str:
    rows = [
        (label, report.versions.get(name, "not run"), report.settings[name]) for name, label in report.labels.items()
    ]
    text = (
        "All run in the same Python with the same NumPy; the MPI libraries through mpi4py with explicit types"
        " (`[buffer, MPI.FLOAT]`). «registered» is memory of `Communicator.empty`, «plain» any NumPy array."
        " Rank r is bound to core r modulo the number of cores, unless said otherwise here. «From C» is the same"
        " library without Python: its calls are made by a loop in C, and nothing is compared with it."
    )
    return f"## Contenders\n\n{text}\n\n" + table(("contender", "version", "settings"), rows)


def _limits(report: Report) -> str:
    if report.limits is None:
        return f"## Limits\n\nNot measured: {report.limits_reason}"
    rows = []
    if report.limits["round_trip_us"] is not None:
        rows.append(("a word from one core to another and back", f"{1000 * report.limits['round_trip_us']:.0f} ns"))
    for key, how in (("refill_read_us", "has read"), ("refill_claimed_us", "has read and written to")):
        if report.limits.get(key) is not None:
            rows.append((f"filling 256 KiB again that another core {how}", f"{report.limits[key]:.3g} µs"))
    sizes = sorted({copy["bytes"] for copy in report.limits["copies"]})
    l2 = min((size for size in sizes if size >= 1 << 18), default=DRAM_BYTES)
    for where, size in ((f"in the second-level cache ({show_bytes(l2)})", l2), ("in main memory", DRAM_BYTES)):
        for threads in sorted({copy["threads"] for copy in report.limits["copies"]}):
            microseconds = report.copy_us(threads, size)
            if microseconds is not None:
                cores = "one core" if threads == 1 else f"{threads} cores at once, each"
                rows.append((f"memcpy {where}, {cores}", f"{size / microseconds / 1000:.1f} GB/s copied"))
    text = (
        "Measured in the same run by a small C program. The column «memcpy» in the tables is a yardstick made of them:"
        " half a round trip, and as many copies of the message as ranks share a core, with all cores copying at once."
        " In an all_reduce every rank reads and writes that many bytes at least, but it is no lower bound: in place it"
        " touches half the memory that a copy does, so that more of it stays in caches."
    )
    return f"## Limits\n\n{text}\n\n" + table(("limit", "measured"), rows)


def _table(report: Report, case: Case, rows: Sequence[Row]) -> str:
    names = list(rows[0].entries)
    hal = [name for name in names if name in report.named("hal")]
    yardstick = [_yardstick(report, row.case) for row in rows]
    header = ["size", *(f"{report.labels[name]} µs" for name in names)]
    if any(yardstick):
        header.append("memcpy µs")
    header += ["best peer", *(f"best peer ÷ {report.labels[name]}" for name in hal)]
    lines = []
    for row, limit in zip(rows, yardstick, strict=True):
        line = [show_bytes(row.case.bytes) if row.case.bytes else "–", *(_time(row.entries[name]) for name in names)]
        if any(yardstick):
            line.append(number(limit) if limit else "–")
        line.append(report.labels[row.best_peer] if row.best_peer else "–")
        line += [_ratio(row.entries[name]) for name in hal]
        lines.append(line)
    forms = len(FORMS[case.collective]) > 1
    title = f"## {case.collective}, {case.ranks} ranks, {f'{show_form(case)}, ' if forms else ''}{case.source} source"
    about = f"{_ABOUT[case.collective]}; {_SOURCES[case.source]}." if case.bytes else ""
    return "\n\n".join(
        part for part in (title, about[:1].upper() + about[1:], table(header, lines, numbers=True)) if part
    )


def _yardstick(report: Report, case: Case) -> float | None:
    """See the text in `_limits`; None where it says nothing about the collective, or for small messages."""
    if case.collective != "all_reduce" or report.limits is None or report.limits["round_trip_us"] is None:
        return None
    threads = min(case.ranks, int(report.machine["cores"]))
    copy = report.copy_us(threads, case.bytes)
    signal = float(report.limits["round_trip_us"]) / 2
    if copy is None:
        return signal if case.bytes < 1024 else None
    return signal + copy * -(-case.ranks // threads)


def _time(entry: Entry) -> str:
    if entry.microseconds is None:
        return "**wrong**" if entry.is_wrong else "not run"
    return number(entry.microseconds.median)


def _ratio(entry: Entry) -> str:
    if entry.ratio is None:
        return "–"
    return f"**{entry.ratio.median:.2f}** ({entry.ratio.low:.2f}–{entry.ratio.high:.2f})"


def _missing(report: Report) -> str:
    lines = [f"- {report.labels[name]}, {ranks} ranks: {reason}" for name, ranks, reason in report.not_run]
    # what fails in the same way at many sizes is one line
    sizes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for case, rows in report.tables():
        for row in rows:
            for name, entry in row.entries.items():
                if entry.reason is not None:
                    reason = f"wrong result: {entry.reason}" if entry.is_wrong else entry.reason
                    where = f"{case.collective}, {case.ranks} ranks, {show_form(case)}, {case.source}"
                    sizes[report.labels[name], where, reason].append(show_bytes(row.case.bytes))
    lines += [f"- {label}, {where}, {', '.join(each)}: {reason}" for (label, where, reason), each in sizes.items()]
    return "## Not run\n\n" + "\n".join(lines) if lines else ""


def _method(report: Report) -> str:
    pace = report.pace
    counts = [entry.rounds for row in report.rows for entry in row.entries.values() if entry.rounds]
    rounds = f"{min(counts)} to {max(counts)}" if counts else "no"
    return (
        "## How it is measured\n\n"
        "- The ranks of all contenders are alive at the same time; all but one contender's sleep in the kernel. In each"
        " round every contender in turn, in rotating order, runs a batch:"
        f" {pace['calls']} calls, fewer where these take more than {1000 * pace['longest']:g} ms, more where they take"
        f" less than {1000 * pace['batch']:g} ms. There were {rounds} rounds."
        " A batch's time is that of its slowest rank.\n"
        "- Ratios are medians of the ratios within a round, with their quartiles in brackets: a disturbance that"
        " lasts longer than a round drops out. The peer compared with is the one with the lowest median of the row.\n"
        "- Before timing, every contender's result is compared with the exact one, each element, for every size.\n"
        "- A clean source flatters whoever reads a peer's memory directly, since what did not change stays in that"
        " reader's cache; a dirty one is what applications have. Subtracting the time of refilling adds noise below"
        " about 1 KiB, and where ranks outnumber cores (a round that this leaves without time is not"
        " compared); what refilling costs more because the collective has taken the"
        " lines to other cores counts for the collective.\n"
        "- More ranks than cores is a test of how well waiting ranks make room for each other, not of bandwidth.\n"
        "- Calls are made from Python, as users make them; a few hundredths of a microsecond are the loop's.\n"
        "- Peers are of their own defaults unless said otherwise under «Contenders»; a specialist may get more out of"
        " each of them."
    )
