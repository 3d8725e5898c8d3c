"""The benchmark runs, in its smallest size. Its figures mean nothing here but for those that are counted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[2]


def test_the_benchmark_measures_everything_loses_nothing_and_sees_no_write_without_need(tmp_path: Path):
    command = [sys.executable, "-m", "tests.bench", "--quick", "--samples", "3", "--deployments", "3"]
    done = subprocess.run(
        [*command, "--output", tmp_path], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=540
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (file,) = tmp_path.iterdir()
    results = json.loads(file.read_text())

    assert results["lost"] == []
    assert results["boot"]["medianSeconds"] > 0
    for run in results["latency"]:
        for samples in run["samples"].values():
            assert {what: len(taken) for what, taken in samples.items()} == {"edit": 3, "rollback": 3}
    writes = results["writes"]
    assert writes["operator"]["idle"]["writes"] == 0
    assert results["nothingToDo"]["operator"]["writes"] == 0
    assert results["everythingToDo"]["operator"]["notLive"] == 0
    # Or the comparison is not of the same work.
    for what in ("edit", "rollback"):
        assert writes["operator"][what]["byKind"] == writes["bare"][what]["byKind"]
