from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path, clip: Path, painting: Path) -> Path:
    """Two clips alike, `shots/a.mp4` and `shots/b.mp4`, and a painting, `wave.png`."""
    (tmp_path / "shots").mkdir()
    for name in ("a", "b"):
        shutil.copy(clip, tmp_path / "shots" / f"{name}.mp4")
    shutil.copy(painting, tmp_path / "wave.png")
    return tmp_path
