"""The command line in this process, and the smallest things to give it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from samples.clip import SampleClip, sample_clip
from tests.video.made_clips import make_clip, texture

STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if os.name == "posix" else [])]
# One thread: several fight on busy cores. Timing two precisions takes longer than a tiny render.
TINY = ("--first-steps", "1", "--threads", "1", "--precision", "fp32")


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Vidstyle = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test times is not remembered for another."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As a machine with work of its own would have it; what one test sets is no other's."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def vidstyle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Vidstyle]:
    """`vidstyle("run", …)` in an empty folder, with the exit status and what was printed."""
    from vidstyle.cli import main

    for name in [name for name in os.environ if name.startswith("VIDSTYLE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    handlers = {number: signal.getsignal(number) for number in STOPPING}

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["vidstyle", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return Outcome(int(stop.value.code or 0), *capsys.readouterr())

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def sample() -> SampleClip:
    """The sample clip with its exact flow, drawn once: it takes ten seconds."""
    return sample_clip()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of 64×48 with a pause after the third, sound, and BT.709 tags."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return make_clip(
        path,
        5,
        pts=[0, 40, 80, 200, 240],
        time_base=Fraction(1, 1000),
        sound=("aac",),
        click=0.1,
        tags=(1, 1, 1, 1),
    )


@pytest.fixture(scope="session")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("painting") / "wave.png"
    Image.fromarray(np.uint8(texture(1, 96, 80) * 255)).save(path)
    return path
