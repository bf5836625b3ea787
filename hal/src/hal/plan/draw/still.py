"""SVG and PNG by matplotlib. The same picture is the same file, byte for byte."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hal.plan.draw.colours import KINDS, of_rank
from hal.plan.draw.gantt import Gantt
from hal.plan.draw.space_time import SpaceTime

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SETTINGS: Any = {
    "svg.hashsalt": "hal",  # names of clip paths and markers, which would be random
    "svg.fonttype": "none",  # text as text: small files, and it can be searched
    "font.family": "sans-serif",
    "font.size": 9,
}
_DOTS_PER_INCH = 120
_MOST_PIXELS = 60_000  # on a side; matplotlib takes 65 536


def draw_space_time(picture: SpaceTime, path: Path) -> None:
    """Write the picture of a plan; the suffix says in which form."""
    import matplotlib
    from matplotlib.figure import Figure

    column = min(1.1, max(0.4, 14 / max(picture.ranks, 1)))
    row = min(0.85, max(0.3, 24 / max(picture.height, 1)))
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(
            figsize=(max(5, column * picture.ranks + 1.2), max(2.2, row * picture.height + 1.6)), layout="constrained"
        )
        axes = figure.subplots()
        _head(figure, axes, picture.title, picture.notes)
        axes.set_xlim(-0.6, picture.ranks - 0.4)
        axes.set_ylim(picture.height + 0.25, -0.25)
        axes.set_xticks(range(picture.ranks), [str(r) for r in range(picture.ranks)])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.set_xlabel("rank")
        axes.set_yticks(picture.middles, [str(s + 1) for s in range(picture.steps)])
        axes.set_ylabel("step")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.vlines(range(picture.ranks), -0.1, picture.height + 0.1, colors="#bbbbbb", linewidth=1, zorder=1)
        axes.hlines(picture.bounds[1:-1], -0.6, picture.ranks - 0.4, colors="#eeeeee", linewidth=0.8, zorder=0)
        for line in picture.lines:
            colour = of_rank(line.src)
            thin = line.step in picture.crowded
            arrow = {
                "arrowstyle": "-|>,head_length=0.25,head_width=0.12" if thin else "-|>",
                "color": colour,
                "linewidth": 0.5 if thin else 1.1,
                "alpha": 0.7 if thin else 0.9,
                "shrinkA": 0,
                "shrinkB": 0,
            }
            made = axes.annotate("", line.end, line.start, arrowprops=arrow, zorder=3)
            assert made.arrow_patch is not None  # it has `arrowprops`
            made.arrow_patch.set_gid(f"arrow-{line.step}-{line.src}-{line.dst}")
            if line.label:
                box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                axes.text(
                    *line.label_at,
                    line.label,
                    color=colour,
                    fontsize=8 if picture.ranks <= 16 else 6,
                    ha="center",
                    va="center",
                    bbox=box,
                    parse_math=False,
                    zorder=4,
                )
        if picture.dots:
            x, y = zip(*((dot.rank, dot.y) for dot in picture.dots), strict=True)
            axes.scatter(x, y, s=10, color="#777777", zorder=2, gid="moves-within-ranks")
        _save(figure, path)


def draw_gantt(picture: Gantt, path: Path) -> None:
    """Write the picture of a timeline; the suffix says in which form."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = len(picture.rows)
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(12, max(2.4, rows * min(0.3, max(0.1, 30 / rows)) + 1.5)), layout="constrained")
        axes = figure.subplots()
        _head(figure, axes, picture.title, picture.notes)
        for kind, bars in picture.bars.items():
            for row in sorted({bar.row for bar in bars}):
                spans = [(bar.start, bar.length) for bar in bars if bar.row == row]
                axes.broken_barh(spans, (row - 0.4, 0.8), color=KINDS[kind], linewidth=0, gid=f"{kind}-{row}")
        axes.set_xlim(0, picture.length or 1)
        axes.set_ylim(rows - 0.4, -0.6)
        every = max(1, rows // 100)
        shown = range(0, rows, every)
        axes.set_yticks(shown, [picture.rows[r] for r in shown], fontsize=8 if rows <= 40 else 6, parse_math=False)
        axes.set_xlabel("µs")
        axes.tick_params(axis="y", length=0)
        axes.grid(True, axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        handles = [Patch(color=KINDS[kind], label=kind) for kind in picture.bars]
        figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
        _save(figure, path)


def _head(figure: Figure, axes: Any, title: str, notes: str) -> None:
    figure.suptitle(title, fontsize=11, parse_math=False)
    if notes:
        axes.set_title(notes, fontsize=8, color="#555555", parse_math=False)


def _save(figure: Figure, path: Path) -> None:
    """Write the whole file or none of it."""
    svg = path.suffix.lower() == ".svg"
    # neither the date nor the version of the library
    metadata = {"Date": None, "Creator": "hal plan draw"} if svg else {"Software": "hal plan draw"}
    dpi = min(_DOTS_PER_INCH, _MOST_PIXELS / max(figure.get_size_inches()))
    write_whole(path, lambda target: figure.savefig(target, format="svg" if svg else "png", dpi=dpi, metadata=metadata))


def write_whole(path: Path, write: Any) -> None:
    """Let `write` write a file beside `path`, and put it there when it is complete."""
    handle, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(name)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
