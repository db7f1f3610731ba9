"""What a worker does: one task from file to file, told as plain values that any channel carries."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from vidstyle.batch.cache import copy_result, find_result, remember_result
from vidstyle.batch.jobs import Job
from vidstyle.batch.ledger import FAILED, Outcome, result_key
from vidstyle.disk import file_digest, make_folder
from vidstyle.errors import VidstyleError
from vidstyle.frame import Shot
from vidstyle.options import RenderSettings
from vidstyle.settings import ClipSettings
from vidstyle.video import ClipReader
from vidstyle.video.sequence import ImageSequence

ATTEMPTS: Final = 2  # of a task whose worker is lost
STILLS: Final = 3
STILL_SIZE: Final = 256  # pixels, long side


@dataclass(frozen=True)
class Task:
    """What a worker takes: a whole job, or some neighbouring `shots` of its clip.

    A clip of more than `cut_above` frames is not rendered, but its shots are found.
    """

    job: Job
    shots: tuple[Shot, ...] = ()
    cut_above: float = math.inf


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


@dataclass(frozen=True)
class Cut:
    """A clip's shots, all of them; found in so many seconds."""

    shots: tuple[Shot, ...]
    seconds: float


@dataclass(frozen=True)
class Made:
    """A task's shots are finished; what it took, as in a `Report`."""

    frames_resumed: int
    seconds: float


Ended = Outcome | Cut | Made
Message = Begun | Progress | Said | Ended
Say = Callable[[Message], None]


def patient(task: Task, seconds: float) -> Task:
    """The same, and what another is at work on is waited for so long: it may be about to end."""
    settings = task.job.settings
    work = replace(settings.work, patience=seconds)
    return replace(task, job=replace(task.job, settings=replace(settings, work=work)))


def lost_worker(reason: str, attempt: int) -> Said | Outcome:
    if attempt < ATTEMPTS:
        return Said(f"{reason}; begun again, from what is finished")
    return Outcome(FAILED, f"{reason}, {attempt} times")


def work_on(task: Task, say: Say) -> Ended:
    """Whatever is wrong with the job becomes its outcome."""
    try:
        return _made(task, say) if task.shots else _rendered_or_cut(task, say)
    except VidstyleError as error:
        return Outcome(FAILED, str(error))
    except BrokenPipeError:
        raise  # nobody listens any more
    except Exception as error:
        return Outcome(FAILED, f"unexpected {type(error).__name__}: {error}")


def _rendered_or_cut(task: Task, say: Say) -> Outcome | Cut:
    job = task.job
    key = result_key(job)
    make_folder(job.target.parent)
    earlier = find_result(key, job.target)
    if earlier is None and _is_cut(job, task.cut_above):
        return _cut(job, say)
    if earlier is None:
        return _with_stills(_rendered(job, key, say), job)
    if (made := Path(earlier.report["result"])) == job.target:
        try:
            _remove_work(job)  # a run was killed when it had just been made
        except VidstyleError as error:
            say(Said(f"warning: what that run has stored stays there: {error}"))
    else:
        copy_result(made, job.target, job.settings.output.overwrite)
        say(Said(f"the same as {made}, and copied from there"))
    report = earlier.report | {"result": str(job.target), "source": str(job.clip)}
    return _with_stills(Outcome.finished(key, earlier.digest, report), job)


def open_clip(job: Job) -> ClipReader:
    """For what its headers say: that needs no decoder of many threads."""
    return ClipReader(job.clip, replace(job.settings.part, threads=1))


def can_be_cut(settings: RenderSettings) -> bool:
    """Parts are joined from finished work; a loop has no cut."""
    return settings.work.resume and not settings.look.loop


def _is_cut(job: Job, above: float) -> bool:
    if math.isinf(above) or not can_be_cut(job.settings):
        return False
    with open_clip(job) as reader:
        return (reader.expected_frames or 0) > above


def _cut(job: Job, say: Say) -> Cut:
    from vidstyle.render import find_shots

    begun = time.perf_counter()
    shots = find_shots(job.clip, job.styles, job.target, job.settings, _Teller(say))
    return Cut(tuple(shots), time.perf_counter() - begun)


def _made(task: Task, say: Say) -> Made:
    from vidstyle.render import stylize_part

    job = task.job
    asked = job.clip, job.styles, job.target, job.settings
    return Made(**asdict(stylize_part(*asked, task.shots, _Teller(say))))


def _rendered(job: Job, key: str, say: Say) -> Outcome:
    """Remembered before the finished frames are removed: a kill between the two costs nothing."""
    from vidstyle.render import Report, stylize_clip

    made: list[Outcome] = []

    def finish(report: Report) -> None:
        made.append(Outcome.finished(key, file_digest(job.target), report.as_dict()))
        remember_result(made[0])

    stylize_clip(job.clip, job.styles, job.target, job.settings, _Teller(say), finish)
    return made[0]


def _remove_work(job: Job) -> None:
    from vidstyle.render import remove_work

    remove_work(job.clip, job.styles, job.target, job.settings)


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


def _with_stills(outcome: Outcome, job: Job) -> Outcome:
    return replace(outcome, stills=base64.b64encode(_stills(job)).decode())


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
