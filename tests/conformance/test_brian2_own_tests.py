"""Tests that come with Brian2 still pass when our templates stand beside its own (a choice of them; see the script)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance import brian2_own_tests

CHOICE = {
    "numpy": ("summed or run_regularly or scalar or linked", 20),
    "cpp_standalone": ("test_summed_variable_pre_and_post or test_synapse_with_run_regularly", 2),
}


@pytest.mark.parametrize("device", CHOICE)
def test_brian2_passes_its_own_tests(device: str, tmp_path: Path) -> None:
    expression, least = CHOICE[device]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, brian2_own_tests.__file__, device, expression]
    outcome = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout[-3000:] + outcome.stderr[-3000:]
    summary = re.search(r"(\d+) passed", outcome.stdout)
    assert summary is not None
    assert int(summary[1]) >= least
