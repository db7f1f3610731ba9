"""A seeded sample of tests/bench/fuzz.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a fork")
@pytest.mark.parametrize(
    "kinds", [["clip", "painting", "weights"], pytest.param(["jobs"], marks=pytest.mark.slow)]
)
def test_damaged_files_are_refused_or_rendered(kinds: list[str], tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.bench.fuzz", "--cases", "15", "--out", tmp_path / "out"]
    done = subprocess.run(
        [*map(str, line), "--kinds", *kinds],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 cases, 0 at fault" in done.stdout
