"""An error in any of a render's threads: its own message, the right status, and an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import make_film
from vidstyle.errors import DecodeError, EncodeError
from vidstyle.flow.motion import Motion
from vidstyle.frame import Frame
from vidstyle.measure import WarpError
from vidstyle.video import ClipReader, ClipWriter

STAGE = "vidstyle stage"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of 64×48 with a cut before the sixth."""
    return make_film(tmp_path_factory.mktemp("film") / "f.mkv", 5, 5)


class Planted:
    """Stands in for a function; in a thread it raises `error` at its third call."""

    def __init__(self, function: Callable[..., Any], error: Exception) -> None:
        self.function, self.error, self.calls = function, error, 0

    def __get__(self, owner: object, kind: type) -> Callable[..., Any]:
        return lambda *given, **named: self(owner, *given, **named)

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.calls += threading.current_thread().name == STAGE
        if self.calls == 3:
            raise self.error
        return self.function(*given, **named)


@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize(
    ("owner", "name", "error", "said"),
    [
        (Motion, "between", RuntimeError("no flow"), "unexpected RuntimeError: no flow; run again"),
        (ClipWriter, "write", EncodeError("a.mp4: the disk is full"), "a.mp4: the disk is full"),
        (WarpError, "add", MemoryError(), "out of memory (allocation failed): use a smaller"),
    ],
    ids=["flow", "encoder", "measuring"],
)
def test_an_error_in_a_thread(
    vidstyle: Vidstyle,
    film: Path,
    painting: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    error: Exception,
    said: str,
    passes: int,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, Planted(getattr(owner, name), error))
        ends_with(said, vidstyle, film, painting, passes)


@pytest.mark.parametrize(("passes", "reading"), [(1, 1), (2, 1), (2, 2)])
def test_an_error_in_a_decoder(
    vidstyle: Vidstyle,
    film: Path,
    painting: Path,
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    reading: int,
) -> None:
    """Two passes read the clip a second time, for all but the pictures."""
    readings, whole = 0, ClipReader.__iter__

    def broken(reader: ClipReader) -> Iterator[Frame]:
        nonlocal readings
        readings += 1
        number = readings
        for index, frame in enumerate(whole(reader)):
            if number == reading and index == 5:
                assert threading.current_thread().name == STAGE
                raise DecodeError("f.mkv: broken off")
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(ClipReader, "__iter__", broken)
        ends_with("f.mkv: broken off", vidstyle, film, painting, passes)


def ends_with(said: str, vidstyle: Vidstyle, film: Path, painting: Path, passes: int) -> None:
    line = ["run", film, "--style", painting, "--steps", 1, *TINY, "--passes", passes]
    done = vidstyle(*line, "-o", "a.mp4", "-q")
    last = done.err.splitlines()[-1]
    assert (done.status, last[: len(said) + 7]) == (1, f"error: {said}"), done.err
    assert STAGE not in [thread.name for thread in threading.enumerate()]
    assert not Path("a.mp4").exists() and not list(Path().glob(".a.partial-*"))
