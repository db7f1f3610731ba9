"""What a worker does: one job from file to file, told as plain values that any channel carries."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from PIL import Image

from vidstyle.batch.cache import copy_result, find_result, remember_result
from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import FAILED, Outcome, result_key
from vidstyle.disk import file_digest
from vidstyle.errors import VidstyleError
from vidstyle.settings import ClipSettings
from vidstyle.video.sequence import ImageSequence

ATTEMPTS: Final = 2  # of a job whose worker is lost
STILLS: Final = 3
STILL_SIZE: Final = 256  # pixels, long side


@dataclass(frozen=True)
class Begun:
    attempt: int


@dataclass(frozen=True)
class Progress:
    """`frame` frames are done, the last in shot `shot`, both counted from 1."""

    frame: int
    frames: int | None
    shot: int
    seconds: float


@dataclass(frozen=True)
class Said:
    message: str


Message = Begun | Progress | Said | Outcome
Say = Callable[[Message], None]


class Executor(Protocol):
    """Where jobs are rendered; a lost worker's job is begun `ATTEMPTS` times in all."""

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, Message]]:
        """Of every job: `Begun`, then what happens, at last its `Outcome`.

        Closing the generator ends the workers, their jobs in a state to go on from.
        """
        ...


def lost_worker(reason: str, attempt: int) -> Said | Outcome:
    if attempt < ATTEMPTS:
        return Said(f"{reason}; begun again, from what is finished")
    return Outcome(FAILED, f"{reason}, {attempt} times", attempts=attempt)


def render_job(job: Job, say: Say) -> Outcome:
    """Renders; whatever is wrong with the job becomes its outcome."""
    try:
        return _render(job, say)
    except VidstyleError as error:
        return Outcome(FAILED, str(error))
    except BrokenPipeError:
        raise  # nobody listens any more
    except Exception as error:
        return Outcome(FAILED, f"unexpected {type(error).__name__}: {error}")


def _render(job: Job, say: Say) -> Outcome:
    key = result_key(job)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    earlier = find_result(key, job.target)
    if earlier is None:
        outcome = Outcome.finished(key, *_rendered(job, say), _stills(job))
        remember_result(outcome)
        return outcome
    made = earlier.report["result"]
    copy_result(Path(made), job.target, job.settings.output.overwrite)
    say(Said(f"the same as {made}, and copied from there"))
    report = earlier.report | {"result": str(job.target), "source": str(job.clip)}
    return Outcome.finished(key, earlier.digest, report, _stills(job))


def _rendered(job: Job, say: Say) -> tuple[str, dict[str, Any]]:
    """The result's digest and the render's report."""
    from vidstyle.render import stylize_video

    settings = job.settings
    report = stylize_video(
        job.clip,
        job.styles,
        job.target,
        part=settings.part,
        look=settings.look,
        features=settings.features,
        compute=settings.compute,
        output=settings.output,
        work=settings.work,
        on_event=_Teller(say),
    )
    return file_digest(job.target), report.as_dict()


class _Teller:
    """Passes a render's events on."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._frames: int | None = None

    def __call__(self, event: object) -> None:
        from vidstyle.render import FrameDone, Resumed, Started, Warned

        match event:
            case Started():
                self._frames = event.frames
            case Resumed():
                self._say(Said(f"going on after frame {event.frames}"))
            case FrameDone():
                where = int(event.done), self._frames, event.shot + 1
                self._say(Progress(*where, event.seconds))
            case Warned():
                self._say(Said(f"warning: {event.message}"))


def _stills(job: Job) -> bytes:
    """A strip of frames, source above result, as JPEG; nothing where no length is known."""
    from vidstyle.preview import filmstrip, sample_frames

    size = min(STILL_SIZE, job.settings.part.size or STILL_SIZE)
    part = replace(job.settings.part, size=size, threads=1)
    rate = part.fps if ImageSequence.of(job.target) else None
    try:
        before = sample_frames(job.clip, STILLS, part)
        whole = ClipSettings(size=size, threads=1, fps=rate)
        after = sample_frames(job.target, STILLS, whole)
    except VidstyleError:
        return b""
    count = min(len(before), len(after))
    height = min(frame.height for frame in (*before, *after))
    width = min(frame.width for frame in (*before, *after))
    rows = ([frame.image[:height, :width] for frame in row[:count]] for row in (before, after))
    return _jpeg(filmstrip(*rows))


def _jpeg(image: np.ndarray) -> bytes:
    """(H, W, 3) in [0, 1]."""
    data = io.BytesIO()
    levels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(levels).save(data, "JPEG", quality=85)
    return data.getvalue()
