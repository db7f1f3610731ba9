"""One clip or one picture, from file to file: the only place that wires the stages together."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch

from vidstyle import __version__
from vidstyle.checkpoint import Checkpointed, Work, naming_work
from vidstyle.device import (
    Compute,
    choose_device,
    choose_precision,
    device_name,
    is_out_of_memory,
    keep_freed_memory,
    own_stream,
)
from vidstyle.disk import FRAME_BYTES, check_space
from vidstyle.errors import DeviceMemoryError
from vidstyle.features import arranged, load_features
from vidstyle.flow import FlowEstimator, load_flow
from vidstyle.flow.motion import Motion
from vidstyle.flow.repeats import change, repeats
from vidstyle.frame import ClipInfo, Frame, Shot
from vidstyle.images import as_on_disk, check_image, check_sides
from vidstyle.measure import WarpError
from vidstyle.opencv import opencv
from vidstyle.optimize import Step
from vidstyle.options import RenderSettings
from vidstyle.passes import OnFrame, Refiner, stylize_in_passes
from vidstyle.pipeline import ahead, behind, side_by_side
from vidstyle.settings import (
    ClipSettings,
    ComputeSettings,
    FeatureSettings,
    OutputSettings,
    StyleSettings,
    WorkSettings,
)
from vidstyle.stylize import FrameStyler, OptimizingStyler, stylize_shots
from vidstyle.video import (
    ClipReader,
    ClipWriter,
    Paths,
    check_not_source,
    check_output,
    check_picture_output,
    find_bars,
    list_shots,
    load_paintings,
    load_picture,
    save_picture,
    split_shots,
    take_back,
)


@dataclass(frozen=True)
class Started:
    """The clip is open, the network is ready. `frames` is the headers' word, if they have one."""

    info: ClipInfo
    compute: Compute
    frames: int | None


@dataclass(frozen=True)
class Resumed:
    """The first `frames` frames were finished by an earlier run and come from `folder`."""

    frames: int
    folder: Path


@dataclass(frozen=True)
class FrameDone:
    """Frame `index` (from 0) of shot `shot` was finished, `seconds` after the render began.

    With several passes it is told of once for each, and is that share of a frame `done`.
    """

    index: int
    shot: int
    seconds: float
    done: float


@dataclass(frozen=True)
class Warned:
    """Something that does not stop the work but that the user should know, in one line."""

    message: str


BESIDE = ("dis",)  # flows found beside the optimiser: OpenCV's, on the CPU and soon done

Event = Started | Resumed | FrameDone | Warned | Step
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class Report:
    """What a render was and how it went; `None` is what it could not know.

    `seconds` is the whole render, imports left out; `frames_resumed` of the `frames` were finished
    by an earlier run, and `frames_per_second` counts the others. The warp errors are of the frames
    before encoding, by the rendering's own flow.
    """

    result: str
    source: str
    frames: int
    frames_resumed: int
    shots: int
    width: int
    height: int
    seconds: float
    frames_per_second: float
    peak_memory_mb: float | None
    device: str
    precision: str
    features: str
    steps: int
    first_steps: int
    passes: int
    brush: float
    flow: str
    corrupt_packets: int
    damaged_frames: int
    warp_error: float | None
    warp_error_source: float | None
    warp_error_ratio: float | None
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Flat, without what is not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class PartReport:
    """Of some of a clip's shots; as in `Report`."""

    frames_resumed: int
    seconds: float


def make_styler(
    paintings: Sequence[np.ndarray],
    look: StyleSettings | None = None,
    features: FeatureSettings | None = None,
    compute: ComputeSettings | None = None,
    on_step: Callable[[Step], None] = lambda step: None,
) -> OptimizingStyler:
    """The temporal optimiser, ready for `start_shot` and `next_frame`.

    `paintings` are (H, W, 3) float32 RGB in [0, 1]. Raises `SettingsError` and `InputError`
    where a network, its weights or a device cannot be had.
    """
    look, features = look or StyleSettings(), features or FeatureSettings()
    compute = compute or ComputeSettings()
    device = _prepare_device(compute)
    flow = _make_flow(look, device)
    net = load_features(
        features.name, features.weights, features.style_layers, features.content_layer
    )
    net = net.reflecting()
    net = arranged(net) if device.type == "cuda" else net
    net = net.to(device).to(memory_format=torch.channels_last)
    chosen = Compute(device, choose_precision(compute.precision, device, net))
    return OptimizingStyler(net, paintings, chosen, look, flow, on_step)


def _make_flow(look: StyleSettings, device: torch.device) -> FlowEstimator | None:
    if look.flow == "none":
        return None
    return load_flow(look.flow, look.flow_weights, device)


def _prepare_device(compute: ComputeSettings) -> torch.device:
    device = choose_device(compute.device)
    if device.type == "cuda" and device.index is None:
        # Each thread has a current device of its own: from here on it is the one of this thread.
        device = torch.device("cuda", torch.cuda.current_device())
    torch.manual_seed(compute.seed)
    if compute.threads:
        torch.set_num_threads(compute.threads)
    keep_freed_memory()
    if device.type == "cuda":
        torch.backends.cudnn.deterministic = True  # all else that is used there is so by itself
        torch.cuda.reset_peak_memory_stats(device)
    return device


def stylize_frames(images: Iterable[np.ndarray], styler: FrameStyler) -> Iterator[np.ndarray]:
    """One shot's pictures, (H, W, 3) float32 RGB in [0, 1], each stylised, in the same form.

    For a reader of your own; give the pictures after a cut to a second call. `make_styler`'s goes
    over them in as many passes as its settings say: with more than one, results come a block of
    frames later. Raises `InputError` for a picture that is not such, and `DeviceMemoryError`.
    """
    if isinstance(styler, OptimizingStyler) and styler.settings.rounds > 1:
        results = _in_passes(images, styler)
    else:
        styler.start_shot()
        results = map(styler.next_frame, images)
    with memory_errors():
        yield from results


def _in_passes(images: Iterable[np.ndarray], styler: OptimizingStyler) -> Iterator[np.ndarray]:
    look = styler.settings
    with tempfile.TemporaryDirectory() as folder:
        shot = _one_shot(images)
        yield from stylize_in_passes(shot, styler, look.rounds, look.loop, Path(folder))


def _one_shot(images: Iterable[np.ndarray]) -> Iterator[tuple[int, Frame]]:
    for index, image in enumerate(images):
        check_image(image)
        yield 0, Frame(as_on_disk(image), index, index, Fraction(1))


def stylize_image(
    image: np.ndarray,
    paintings: Sequence[np.ndarray],
    *,
    look: StyleSettings | None = None,
    features: FeatureSettings | None = None,
    compute: ComputeSettings | None = None,
    on_event: OnEvent = lambda event: None,
) -> np.ndarray:
    """A still in the paintings' style; all (H, W, 3) float32 RGB in [0, 1]."""
    with memory_errors():
        styler = make_styler(paintings, look, features, compute, on_event)
        result = stylize_alone(image, styler)
    warn(styler.warnings, on_event)
    return result


def stylize_alone(image: np.ndarray, styler: FrameStyler) -> np.ndarray:
    """A picture as a shot of its own."""
    styler.start_shot()
    return styler.next_frame(image)


def stylize_picture(
    photo: Path | str,
    paintings: Paths,
    target: Path | str,
    *,
    size: int | None = None,
    overwrite: bool = False,
    look: StyleSettings | None = None,
    features: FeatureSettings | None = None,
    compute: ComputeSettings | None = None,
    on_event: OnEvent = lambda event: None,
) -> np.ndarray:
    """`stylize_image` from file to file, its settings in the file; also gives the picture."""
    check_not_source(Path(target), map(Path, [photo, *paintings]))
    check_picture_output(Path(target), overwrite)
    image, styles = load_picture(Path(photo), size), load_paintings(paintings)
    with memory_errors():
        styler = make_styler(styles, look, features, compute, on_event)
        result = stylize_alone(image, styler)
    warn(styler.warnings, on_event)
    save_picture(Path(target), result, overwrite, _comment(paintings, styler))
    return result


def stylize_video(
    clip: Path | str,
    paintings: Paths,
    target: Path | str,
    *,
    part: ClipSettings | None = None,
    look: StyleSettings | None = None,
    features: FeatureSettings | None = None,
    compute: ComputeSettings | None = None,
    output: OutputSettings | None = None,
    work: WorkSettings | None = None,
    on_event: OnEvent = lambda event: None,
) -> Report:
    """Render `clip` in the style of `paintings` to `target`; several paintings are averaged.

    Streams: memory does not grow with the clip's length. `target` appears only when complete. A
    render that was stopped, by whatever means, goes on when called again, to the same bytes.
    Raises `RequestError` before any work, `DecodeError`, `EncodeError` or `DeviceMemoryError`
    (all `VidstyleError`) when the work fails.
    """
    settings = RenderSettings(
        part or ClipSettings(),
        look or StyleSettings(),
        features or FeatureSettings(),
        compute or ComputeSettings(),
        output or OutputSettings(),
        work or WorkSettings(),
    )
    return stylize_clip(Path(clip), paintings, Path(target), settings, on_event)


def stylize_clip(
    clip: Path,
    paintings: Paths,
    target: Path,
    settings: RenderSettings,
    on_event: OnEvent = lambda event: None,
    on_result: Callable[[Report], None] = lambda report: None,
) -> Report:
    """`stylize_video`, its settings in one.

    `on_result` is told when the result is complete, before what was stored of it is removed.
    """
    begun = time.perf_counter()
    warnings: list[str] = []
    on_event = noting(warnings, on_event)
    with _ready(clip, paintings, target, settings, on_event) as ready:
        reader, stored = ready.reader, ready.stored
        announce = stored.mark_unfinished if stored is not None else lambda hidden: None
        on_event(Started(reader.info, ready.styler.compute, reader.expected_frames))
        with _held(ready, on_event):
            resumed = stored.whole_frames if stored is not None else 0
            kept = 1 - ready.look.strength
            with ClipWriter(
                target, reader.info, settings.output, ready.part, kept, announce, reader.window
            ) as writer:
                writer.comment = _comment(paintings, ready.styler)
                # What cannot be carried over is known now, not after hours of work.
                warn([*reader.warnings, *writer.warnings], on_event)
                frames = _stylized(ready, _counted(ready.styler, begun, on_event))
                tally = _pass_frames(frames, writer, ready.styler)
            warn([*reader.warnings, *writer.warnings, *_damage(reader)], on_event)
            seconds = time.perf_counter() - begun
            report = _report(writer, reader, ready.styler, tally, resumed, seconds, warnings)
            on_result(report)
    return report


def remove_work(clip: Path, paintings: Paths, target: Path, settings: RenderSettings) -> None:
    """What a render that was killed when its result was complete has left."""
    if stored := _stored(clip, paintings, target, settings, lambda event: None):
        stored.remove()


def find_shots(
    clip: Path,
    paintings: Paths,
    target: Path,
    settings: RenderSettings,
    on_event: OnEvent = lambda event: None,
) -> list[Shot]:
    """The shots that `stylize_part` takes; all is checked and settled first that a render needs.

    Raises as `stylize_video`, `ValueError` without `work.resume`.
    """
    with _ready(clip, paintings, target, settings, on_event) as ready:
        ready.settle()
        ready.check_space()
        on_event(Started(ready.reader.info, ready.styler.compute, ready.reader.expected_frames))
        ready.tell_of_finished(on_event)
        return list_shots(ready.reader)


def stylize_part(
    clip: Path,
    paintings: Paths,
    target: Path,
    settings: RenderSettings,
    shots: Sequence[Shot],
    on_event: OnEvent = lambda event: None,
) -> PartReport:
    """Renders some neighbouring shots, for a `stylize_video` of the same to find them finished.

    Other processes may be at the other shots. Raises as `find_shots`.
    """
    begun, on_event = time.perf_counter(), noting([], on_event)
    with _ready(clip, paintings, target, settings, on_event) as ready:
        stored, look = ready.settle(), ready.look
        count = sum(shot.frames for shot in shots)
        on_event(Started(ready.reader.info, ready.styler.compute, count))
        on_frame = _counted(ready.styler, begun, on_event)
        with (
            ahead(_with_motion(ready.reader.frames_of(shots), ready)) as frames,
            Checkpointed(ready.styler, stored, shots[0].first) as styler,
        ):
            for _ in stylize_in_passes(
                frames, styler, look.rounds, look.loop, ready.folder, on_frame
            ):
                pass
    return PartReport(styler.given // look.rounds, time.perf_counter() - begun)


@dataclass(frozen=True)
class _Ready:
    """A render before its first frame: all is checked, loaded and settled."""

    reader: ClipReader
    styler: OptimizingStyler
    part: ClipSettings  # with the threads that the first run settled
    folder: Path
    stored: Work | None

    @property
    def look(self) -> StyleSettings:
        return self.styler.settings

    @property
    def choices(self) -> dict[str, object]:
        return {"precision": self.styler.compute.precision, "threads": self.part.threads}

    def finished(self, first: int) -> int:
        """About so many frames of the shot that begins with frame `first`."""
        works = self.stored.works(first) if self.stored is not None else 0
        return math.ceil(works / self.look.rounds)

    def tell_of_finished(self, on_event: OnEvent) -> None:
        if self.stored is not None and self.stored.frames:
            on_event(Resumed(self.stored.whole_frames, self.stored.folder))

    def settle(self) -> Work:
        if self.stored is None:
            raise ValueError("parts of a clip are joined from finished work: it must be stored")
        self.stored.settle(self.choices, _environment(self.styler))
        return self.stored

    def check_space(self) -> None:
        info, frames = self.reader.info, self.reader.expected_frames or 0
        pixels = info.width * info.height
        spool = self.look.spooled(frames) * pixels * FRAME_BYTES  # all of it may be one shot
        if self.stored is not None:
            self.stored.check_space(self.look.works(frames), pixels, spool)
            return
        advice = "use a smaller --size, a single pass or another folder with -o"
        check_space(self.folder, spool, advice)


@contextmanager
def _ready(
    clip: Path, paintings: Paths, target: Path, settings: RenderSettings, on_event: OnEvent
) -> Iterator[_Ready]:
    styles = load_paintings(paintings)
    folder = _folder(target, settings)
    check_not_source(target, [clip, *map(Path, paintings)])
    warn(take_back(target), on_event)
    with naming_work(folder, target.stem):
        check_output(target, settings.output)
    # What is not painted needs no fade taken off, nor bars: it keeps its exact samples.
    painted = settings.look.strength > 0
    window = find_bars(clip, settings.part) if painted else None
    with memory_errors(), ClipReader(clip, settings.part, painted, window) as reader:
        if window is not None:
            reader.warnings.append(window.words(reader.info.width, reader.info.height))
        stored = _stored(clip, paintings, target, settings, on_event)
        compute = _settled(settings.compute, stored)
        styler = make_styler(styles, settings.look, settings.features, compute, on_event)
        check_sides(*reader.size, styler.least)
        part = replace(settings.part, threads=compute.threads)
        yield _Ready(reader, styler, part, folder, stored)


def _comment(paintings: Paths, styler: OptimizingStyler) -> str:
    """What made a result, for its own tags: one line that can be read by eye and as JSON."""
    used = {
        "paintings": [Path(painting).name for painting in paintings],
        "features": styler.optimizer.net.name,
        **asdict(styler.settings),
        "precision": styler.compute.precision,
    }
    return f"vidstyle {__version__} {json.dumps(used, default=_file_name)}"


def _file_name(path: object) -> str:
    """The one kind of value that JSON lacks; folders are nobody else's business."""
    assert isinstance(path, Path)
    return path.name


def _folder(target: Path, settings: RenderSettings) -> Path:
    """What waits on disk for the result lies in it."""
    return Path(settings.work.folder or target.parent)


def _picture(clip: Path, paintings: Paths, settings: RenderSettings) -> dict[str, object]:
    """All that the frames depend on."""
    network = {f"features_{name}": value for name, value in asdict(settings.features).items()}
    device = str(choose_device(settings.compute.device))
    return {
        "clip": clip,
        "paintings": list(map(Path, paintings)),
        "vidstyle": __version__,
        **asdict(settings.part),
        **asdict(settings.look),
        **network,
        **asdict(settings.compute),
        "device": device,
    }


def _stored(
    clip: Path, paintings: Paths, target: Path, settings: RenderSettings, on_event: OnEvent
) -> Work | None:
    work = settings.work
    if not work.resume:
        return None
    return Work(
        _folder(target, settings),
        target.stem,
        _picture(clip, paintings, settings),
        work.keep,
        settings.look.rounds,
        work.patience,
        lambda message: on_event(Warned(message)),
    )


def _settled(compute: ComputeSettings, stored: Work | None) -> ComputeSettings:
    """Left open, threads are torch's choice and precision is timed: settled once for all runs."""
    if stored is not None and stored.choices is not None:
        return replace(compute, **stored.choices)
    return replace(compute, threads=compute.threads or torch.get_num_threads())


@contextmanager
def _held(ready: _Ready, on_event: OnEvent) -> Iterator[None]:
    stored = ready.stored
    if stored is None:
        ready.check_space()
        yield
        return
    with stored.held(ready.choices, _environment(ready.styler)):
        ready.check_space()
        ready.tell_of_finished(on_event)
        yield


def _resumable(ready: _Ready) -> AbstractContextManager[Refiner]:
    if ready.stored is None:
        return nullcontext(ready.styler)
    return Checkpointed(ready.styler, ready.stored)


def _environment(styler: OptimizingStyler) -> dict[str, str]:
    """What changes the last bits, though not the picture."""
    return {
        "torch": torch.__version__,
        "PyAV": av.__version__,
        "OpenCV": opencv().__version__,
        "processor": torch.backends.cpu.get_cpu_capability(),
        "device": device_name(styler.compute.device),
    }


@dataclass
class _Tally:
    """Of the frames that have gone out."""

    steadiness: WarpError | None
    frames: int = 0
    shots: int = 0
    _judged: int = -1  # the shot of the frame before

    def count(self, shot: int, result: Frame) -> None:
        self.frames, self.shots = result.index + 1, shot + 1

    def judge(self, shot: int, source: Frame, result: Frame) -> None:
        if self.steadiness is not None:
            # As the styler has seen it, so that its motion is known still, mostly.
            seen = as_on_disk(source.image)
            self.steadiness.add(seen, result.image, new_shot=shot != self._judged)
        self._judged = shot


def _stylized(ready: _Ready, on_frame: OnFrame) -> Generator[tuple[int, Frame, Frame]]:
    """(shot, frame, stylised frame); with several passes the clip is read a second time for them.

    So nothing but pictures has to wait on disk. What is finished is stored before threads are
    waited for.
    """
    look = ready.look
    if look.rounds == 1:
        with (
            ahead(_with_motion(split_shots(ready.reader), ready, exact=True)) as frames,
            _resumable(ready) as styler,
        ):
            for shot, source, result in stylize_shots(frames, styler):
                yield shot, source, result
                on_frame(shot, source.index)
        return
    shots = deque[int]()
    with (
        ready.reader.again() as first,
        ahead(_with_motion(_noted(split_shots(first), shots), ready)) as frames,
        ahead(ready.reader) as sources,
        _resumable(ready) as styler,
    ):
        results = stylize_in_passes(frames, styler, look.rounds, look.loop, ready.folder, on_frame)
        for source, image in zip(sources, results, strict=True):
            yield shots.popleft(), source, replace(source, image=image)


def _noted(frames: Iterable[tuple[int, Frame]], shots: deque[int]) -> Iterator[tuple[int, Frame]]:
    """The same; the number of each one's shot is left in `shots`."""
    for shot, frame in frames:
        shots.append(shot)
        yield shot, frame


def _with_motion(
    frames: Iterable[tuple[int, Frame]], ready: _Ready, exact: bool = False
) -> Iterator[tuple[int, Frame]]:
    """The same, as on disk unless `exact`; what the first pass will ask about motion is found.

    But for what is finished, for what repeats the frame before (a long hold's few pairs are found
    late), and for a network's flow, which would take turns with the optimiser. For several passes a
    repeat is given as the very picture that it repeats: one that comes back over them would ask
    for its motion otherwise.
    """
    motion, look = ready.styler.motion, ready.look
    if motion is None or look.flow not in BESIDE or not look.strength:
        for shot, frame in frames:
            yield shot, frame if exact else replace(frame, image=as_on_disk(frame.image))
        return

    def find(item: _Asked) -> None:
        if item.pair is not None:
            with own_stream(motion.device):
                motion.between(*item.pair)

    threads = motion.use_threads(ready.reader.info.height, ready.reader.info.width)
    with side_by_side(find, _asked(frames, ready, motion), threads) as found:
        for shot, frame, image, _ in found:
            yield shot, frame if exact else replace(frame, image=image)


class _Asked(NamedTuple):
    """A frame, as the styler will see it, and between which pictures it will ask for motion."""

    shot: int
    frame: Frame
    image: np.ndarray
    pair: tuple[np.ndarray, np.ndarray] | None


def _asked(frames: Iterable[tuple[int, Frame]], ready: _Ready, motion: Motion) -> Iterator[_Asked]:
    current, finished_to, before, usual = -1, 0, np.empty(0), 0.0
    for shot, frame in frames:
        image, pair = as_on_disk(frame.image), None
        if shot != current:
            current, finished_to = shot, frame.index + ready.finished(frame.index)
            before, usual = image, 0.0
        elif not repeats(before, image, usual):
            pair = (before, image) if frame.index >= finished_to else None
            before, usual = image, change(before, image)
        else:
            motion.repeat(before, image)
        yield _Asked(shot, frame, before if ready.look.rounds > 1 else image, pair)


def _pass_frames(
    frames: Generator[tuple[int, Frame, Frame]], writer: ClipWriter, styler: OptimizingStyler
) -> _Tally:
    motion = styler.motion
    tally = _Tally(WarpError(motion.judged_by) if motion else None)
    compiled = styler.settings.flow in BESIDE

    def write(shot: int, source: Frame, result: Frame) -> None:
        writer.write(result, source)
        tally.count(shot, result)

    def judge(shot: int, source: Frame, result: Frame) -> None:
        with own_stream(styler.compute.device):
            tally.judge(shot, source, result)

    with behind(write) as put, behind(judge) as judge_later, closing(frames):
        for shot, source, result in frames:
            put(shot, source, result)
            (judge_later if compiled else tally.judge)(shot, source, result)
    return tally


def _counted(styler: OptimizingStyler, begun: float, on_event: OnEvent) -> OnFrame:
    """Tells of every frame in every pass, and of what the work has warned of so far.

    `begun` is a moment of time.perf_counter.
    """
    works = count(1)

    def tell(shot: int, index: int) -> None:
        warn(styler.warnings, on_event)
        seconds = time.perf_counter() - begun
        on_event(FrameDone(index, shot, seconds, next(works) / styler.settings.rounds))

    return tell


def _damage(reader: ClipReader) -> Iterator[str]:
    if reader.corrupt_packets:
        yield f"{reader.path}: broken packets, skipped: {reader.corrupt_packets}"
    if reader.damaged_frames:
        yield f"{reader.path}: damaged frames, mended as far as may be: {reader.damaged_frames}"


def warn(messages: Iterable[str], on_event: OnEvent) -> None:
    """Tells of each."""
    for message in messages:
        on_event(Warned(message))


def noting(warnings: list[str], on_event: OnEvent) -> OnEvent:
    """`on_event`, but told of each warning once; it goes into `warnings` too."""

    def tell(event: Event) -> None:
        if isinstance(event, Warned):
            if event.message in warnings:
                return
            warnings.append(event.message)
        on_event(event)

    return tell


def _report(
    writer: ClipWriter,
    reader: ClipReader,
    styler: OptimizingStyler,
    tally: _Tally,
    resumed: int,
    seconds: float,
    warnings: Iterable[str],
) -> Report:
    look, steady = styler.settings, tally.steadiness
    resumed = min(resumed, tally.frames)  # frames ahead of a block count more often
    width, height = writer.size
    measured = steady is not None and steady.pairs > 0
    return Report(
        result=str(writer.path),
        source=str(reader.path),
        frames=tally.frames,
        frames_resumed=resumed,
        shots=tally.shots,
        width=width,
        height=height,
        seconds=round(seconds, 3),
        frames_per_second=round((tally.frames - resumed) / seconds, 3),
        peak_memory_mb=_peak_memory_mb(styler.compute.device),
        device=device_name(styler.compute.device),
        precision=styler.compute.precision,
        features=styler.optimizer.net.name,
        steps=look.steps,
        first_steps=look.first_steps,
        passes=look.rounds,
        brush=look.brush,
        flow=look.flow,
        corrupt_packets=reader.corrupt_packets,
        damaged_frames=reader.damaged_frames,
        warp_error=steady.result if steady and measured else None,
        warp_error_source=steady.source if steady and measured else None,
        warp_error_ratio=steady.ratio if steady and measured else None,
        warnings=tuple(warnings),
    )


def _peak_memory_mb(device: torch.device) -> float | None:
    """Of the CUDA device in use, else of this process; Windows does not say."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Out of memory, on either kind of device, as one line with the way out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0] if str(error) else "allocation failed"
        raise DeviceMemoryError(
            f"out of memory ({reason}): use a smaller --size, or --device cpu on a full GPU"
        ) from error
