"""The verdicts on the plan files of another project's tests, which are read in place."""

from pathlib import Path

import pytest

from hal.interface.errors import PlanError
from hal.plan import load
from hal.plan.verify import Code, verify

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "mscclpp-plans"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the plan files are not there: {FOLDER}")

RIGHT = [
    "allreduce",
    "allreduce_packet",
    "reduce",
    "reduce_nvls",
    "reduce_nvls_pipeline",
    "reduce_pack",
    "reduce_pack_tbg",
    "transfer_pack",
    "transfer_pack_tbg",
]


@pytest.mark.parametrize("name", RIGHT)
def test_right_plans_are_proven(name):
    report = verify(load(FOLDER / f"{name}.json"))
    assert report.ok, str(report)
    assert len(report.layouts) > 1


def test_the_race_of_block_parts_that_do_not_line_up_is_named():
    report = verify(load(FOLDER / "reduce_tbg.json"))
    assert {finding.code for finding in report.findings} == {Code.DATA_RACE}
    finding = report.findings[0]
    writing, reading = finding.where
    # one part of what a block copied to scratch is read by the other block of the other rank
    assert "scratch of rank" in finding.message
    assert writing.rank != reading.rank
    assert writing.block != reading.block
    assert "part 1 of 2" in writing.text or "part 0 of 2" in writing.text
    assert writing.source.startswith("reduce_tbg.json:gpus[")


def test_the_obsolete_file_does_not_load():
    with pytest.raises(PlanError, match=r"allreduce_pipeline.json: gpus\[0\].*'buff' is obsolete"):
        load(FOLDER / "allreduce_pipeline.json")
