"""One page of HTML with everything in it, by plotly: zoom, hover, nothing loaded from anywhere."""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hal.plan.draw.colours import KINDS, of_rank
from hal.plan.draw.gantt import Gantt, facts
from hal.plan.draw.space_time import Line, SpaceTime
from hal.plan.draw.still import write_whole

Figure = Any
"""plotly's figure: the library has no types."""

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""What a browser may load for the page: nothing but what is in it."""

_GREY = "#bbbbbb"


def draw_space_time(picture: SpaceTime, path: Path) -> None:
    """Write the page of a plan."""
    from plotly import graph_objects as go  # type: ignore[import-untyped]  # it has no types

    figure = go.Figure()
    figure.add_scatter(
        x=[v for r in range(picture.ranks) for v in (r, r, None)],
        y=[v for _ in range(picture.ranks) for v in (-0.1, picture.height + 0.1, None)],
        mode="lines",
        line={"color": _GREY, "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )
    if picture.dots:
        figure.add_scatter(
            x=[dot.rank for dot in picture.dots],
            y=[dot.y for dot in picture.dots],
            mode="markers",
            marker={"color": "#777777", "size": 6},
            hovertext=[_lines([f"rank {dot.rank}, after step {dot.step}", *dot.texts]) for dot in picture.dots],
            hoverinfo="text",
            name="moves within ranks",
        )
    by_sender: dict[int, list[Line]] = defaultdict(list)
    for line in picture.lines:
        by_sender[line.src].append(line)
    for sender, lines in sorted(by_sender.items()):
        _arrows(figure, sender, lines)
    labelled = [line for line in picture.lines if line.label]
    if labelled:
        figure.add_scatter(
            x=[line.label_at[0] for line in labelled],
            y=[line.label_at[1] for line in labelled],
            mode="text",
            text=[html.escape(line.label) for line in labelled],
            textfont={"size": 10, "color": [of_rank(line.src) for line in labelled]},
            hoverinfo="skip",
            name="labels",
        )
    every = max(1, picture.ranks // 64)
    ranks = list(range(0, picture.ranks, every))
    steps = list(range(1, picture.steps + 1))
    figure.update_xaxes(title="rank", side="top", tickvals=ranks, ticktext=[str(r) for r in ranks], showgrid=False)
    figure.update_yaxes(
        title="step",
        tickvals=list(picture.middles),
        ticktext=[str(s) for s in steps],
        range=[picture.height + 0.3, -0.3],
        showgrid=False,
        zeroline=False,
    )
    _write(figure, picture.title, picture.notes, path, height=max(500, 60 * picture.height + 200))


def _arrows(figure: Figure, sender: int, lines: list[Line]) -> None:
    """The arrows of one sender: each from its start over its middle, which answers the mouse too, to its head."""
    x: list[float | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for line in lines:
        (x0, y0), (x1, y1) = line.start, line.end
        x += [x0, (x0 + x1) / 2, x1, None]
        y += [y0, (y0 + y1) / 2, y1, None]
        chunks = f": {line.label}" if line.label else ""
        texts += [_lines([f"step {line.step}, rank {line.src} to rank {line.dst}{chunks}", *line.texts])] * 3 + [""]
    figure.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": of_rank(sender), "width": 1.5},
        marker={
            "symbol": ["circle", "circle", "arrow", "circle"] * len(lines),
            "size": [4, 4, 11, 0] * len(lines),
            "angleref": "previous",
            "color": of_rank(sender),
        },
        hovertext=texts,
        hoverinfo="text",
        name=f"from rank {sender}",
    )


def draw_gantt(picture: Gantt, path: Path) -> None:
    """Write the page of a timeline."""
    from plotly import graph_objects as go

    figure = go.Figure()
    for kind, bars in picture.bars.items():
        figure.add_bar(
            base=[bar.start for bar in bars],
            x=[bar.length for bar in bars],
            y=[bar.row for bar in bars],
            orientation="h",
            width=0.8,
            marker={"color": KINDS[kind], "line": {"width": 0}},
            hovertext=[_lines(facts(bar)) for bar in bars],
            hoverinfo="text",
            name=kind,
        )
    rows = len(picture.rows)
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title="µs", range=[0, picture.length or 1])
    figure.update_yaxes(
        tickvals=list(range(rows)), ticktext=[html.escape(name) for name in picture.rows], range=[rows - 0.4, -0.6]
    )
    _write(figure, picture.title, picture.notes, path, height=max(400, min(26 * rows, 6000) + 200))


def _lines(texts: Iterable[str]) -> str:
    return "<br>".join(map(html.escape, texts))


def _write(figure: Figure, title: str, notes: str, path: Path, *, height: float) -> None:
    below = f"<br><sub>{html.escape(notes)}</sub>" if notes else ""
    figure.update_layout(
        title={"text": html.escape(title) + below},
        template="plotly_white",
        hovermode="closest",
        dragmode="pan",
        height=height,
        hoverlabel={"align": "left", "font": {"family": "monospace", "size": 11}},
    )
    config: dict[str, Any] = {"scrollZoom": True, "displaylogo": False, "responsive": True, "plotlyServerURL": ""}
    body = figure.to_html(full_html=False, include_plotlyjs=True, include_mathjax=False, div_id="hal", config=config)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{html.escape(title)}</title>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    write_whole(path, lambda target: Path(target).write_text(page, encoding="utf-8"))
