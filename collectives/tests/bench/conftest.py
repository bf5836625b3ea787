import os

import pytest

LAUNCHERS = ("HAL_", "OMPI_", "PMI_", "PMIX_", "SLURM_", "RANK", "WORLD_SIZE", "MASTER_")


@pytest.fixture(autouse=True)
def no_job(monkeypatch, tmp_path):
    """No test belongs to a job, nor finds somebody's hal.yaml."""
    for name in os.environ:
        if name.startswith(LAUNCHERS):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
