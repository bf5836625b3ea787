"""Colours that people with any kind of sight tell apart."""

from __future__ import annotations

RANKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7b3294", "#666666")
"""For the sender of an arrow, by its number. After M. Okabe and K. Ito, "Color Universal Design", with yellow darkened
to be seen on white, and a violet and a grey added."""

KINDS = {
    "move": "#0072b2",
    "post": "#009e73",
    "delivery": "#7fceb6",
    "signal": "#cc79a7",
    "wait": "#c8c8c8",
    "flush": "#b58900",
    "sync": "#666666",
    "barrier": "#d55e00",
    "acquire": "#e69f00",
    "release": "#f0d060",
}
"""For an interval, by the kind of its instruction: what moves data stands out, waiting recedes."""


def of_rank(rank: int) -> str:
    """The colour of a rank's arrows."""
    return RANKS[rank % len(RANKS)]
