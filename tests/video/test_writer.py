from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.video.made_clips import (
    click_time,
    copied,
    flat,
    frames,
    gradient,
    info,
    leftovers,
    make_clip,
    picture_times,
    real_clip,
)
from vidstyle.errors import EncodeError, OutputError, SettingsError
from vidstyle.frame import ColourTags, Frame
from vidstyle.settings import ClipSettings, OutputSettings
from vidstyle.video import ClipReader, ClipWriter, check_output, probe

TIME_BASE = Fraction(1, 12800)


def write(path: Path, images: list[np.ndarray], settings: OutputSettings | None = None, **changes):
    height, width, _ = images[0].shape
    clip = info(width=width, height=height, **changes)
    with ClipWriter(path, clip, settings) as writer:
        for frame in frames(images, [512 * n for n in range(len(images))], TIME_BASE):
            writer.write(frame)
    return writer


def copy(source: Path, target: Path, **part: object) -> ClipWriter:
    return copied(source, target, **part)[1]


@pytest.mark.parametrize(
    ("name", "codec", "expected", "pix_fmt"),
    [
        ("a.mp4", None, "h264", "yuv420p"),
        ("a.MOV", None, "h264", "yuv420p"),
        ("a.mkv", None, "h264", "yuv420p"),
        ("a.webm", None, "vp9", "yuv420p"),
        ("a.avi", None, "h264", "yuv420p"),
        ("a.mp4", "libx265", "hevc", "yuv420p"),
        ("a.mp4", "libsvtav1", "av1", "yuv420p"),
        ("a.mov", "prores_ks", "prores", "yuv422p10le"),
        ("a.mkv", "ffv1", "ffv1", "yuv420p"),
    ],
)
def test_every_container_and_encoder(
    tmp_path: Path, name: str, codec: str | None, expected: str, pix_fmt: str
) -> None:
    path = tmp_path / name
    images = [gradient(seed=3) for _ in range(6)]
    write(path, images, OutputSettings(codec=codec))
    with ClipReader(path) as reader:
        got = list(reader)
        assert (reader.info.codec, reader.info.pix_fmt) == (expected, pix_fmt)
        assert (reader.info.width, reader.info.height) == (64, 48)
        assert reader.info.colour == ColourTags(1, 1, 1, False)
    assert len(got) == 6
    for frame in got:
        error = (frame.image - images[0]) * 255
        assert abs(error.mean()) < 0.5
        assert np.abs(error).mean() < 2
    assert os.listdir(tmp_path) == [name]


def test_colour_comes_back_without_bias(tmp_path: Path) -> None:
    for index, (colour, tags) in enumerate(
        [
            ((200, 60, 40), ColourTags(1, 1, 1, False)),
            ((200, 60, 40), ColourTags(6, 6, 6, False)),
            ((30, 160, 220), ColourTags(9, 9, 14, False)),
            ((30, 160, 220), ColourTags(6, 6, 6, True)),
        ]
    ):
        path = tmp_path / f"{index}.mp4"
        image = flat(tuple(level / 255 for level in colour))
        write(path, [image] * 3, OutputSettings(crf=4), colour=tags)
        assert probe(path).colour == tags
        with ClipReader(path) as reader:
            error = (next(iter(reader)).image - image) * 255
        assert np.abs(error.mean(axis=(0, 1))).max() < 1  # one level of Y'CbCr is 1.2 of R'G'B'


def test_a_real_frame_keeps_its_mean(tmp_path: Path) -> None:
    with ClipReader(real_clip("cockatoo.mp4"), ClipSettings(end=0.04)) as reader:
        (frame,) = reader
    path = tmp_path / "a.mp4"
    write(path, [frame.image])
    with ClipReader(path) as reader:
        error = (next(iter(reader)).image - frame.image) * 255
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.3


def test_sources_without_a_matrix_become_bt709(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [gradient()] * 2, colour=ColourTags(0, 1, 13, True))
    assert probe(tmp_path / "a.mp4").colour == ColourTags(1, 1, 1, False)


@pytest.mark.parametrize("ending", [".mp4", ".mov"])
@pytest.mark.parametrize(
    ("pts", "time_base"),
    [
        ([0, 1001, 2002, 5005, 5500, 9009, 12012], Fraction(1, 30000)),
        ([512 * n for n in range(8)], Fraction(1, 14336)),
        ([33333 * n + n % 2 for n in range(8)], Fraction(1, 1_000_000)),
        ([n * n for n in range(8)], Fraction(1, 24)),
        ([n for n in range(8)], Fraction(1001, 30000)),
        ([7000 + 3000 * n for n in range(8)], Fraction(1, 90000)),
    ],
)
def test_times_are_exact(tmp_path: Path, ending: str, pts: list[int], time_base: Fraction) -> None:
    path = tmp_path / f"a{ending}"
    clip = info(time_base=time_base, first_pts=pts[0], rate=Fraction(30))
    with ClipWriter(path, clip) as writer:
        for frame in frames([gradient(seed=n) for n in range(len(pts))], pts, time_base):
            writer.write(frame)
    assert picture_times(path) == [moment * time_base for moment in pts]


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_last_picture_stays_as_long(tmp_path: Path, ending: str) -> None:
    pictures = [Image.new("L", (64, 48), 30 * n) for n in range(6)]
    lengths = [100, 50, 200, 100, 100, 500]
    more = {"append_images": pictures[1:], "duration": lengths}
    pictures[0].save(tmp_path / "s.gif", save_all=True, **more)
    copy(tmp_path / "s.gif", tmp_path / f"a{ending}")
    with av.open(str(tmp_path / f"a{ending}")) as clip:
        # Where pictures are reordered, FFmpeg's mp4 loses what they differ in delay, 0.05 s here.
        assert clip.duration / 1e6 == pytest.approx(1.05, abs=0.051)


@pytest.mark.parametrize("ending", [".mkv", ".webm"])
def test_matroska_rounds_to_milliseconds(tmp_path: Path, ending: str) -> None:
    pts = [0, 1001, 2002, 5005, 5500, 9009]
    path = tmp_path / f"a{ending}"
    with ClipWriter(path, info(time_base=Fraction(1, 30000))) as writer:
        for frame in frames([gradient(seed=n) for n in range(6)], pts, Fraction(1, 30000)):
            writer.write(frame)
    got = picture_times(path)
    assert max(abs(a - Fraction(b, 30000)) for a, b in zip(got, pts, strict=True)) <= Fraction(
        1, 2000
    )


@pytest.mark.parametrize(
    ("pts", "stored", "said"),
    [
        ([0, 512, 1324, 2860, 3372], [0, 1, 3, 6, 7], False),
        ([0, 128, 256, 384, 512], [0, 1, 2, 3, 4], True),
    ],
)
def test_avi_keeps_whole_frames_and_says_when_they_moved(
    tmp_path: Path, pts: list[int], stored: list[int], said: bool
) -> None:
    path = tmp_path / "a.avi"
    with ClipWriter(path, info()) as writer:
        for frame in frames([gradient(seed=n) for n in range(5)], pts, TIME_BASE):
            writer.write(frame)
    assert ["one frame rate" in line for line in writer.warnings] == [True] * said
    with av.open(str(path)) as clip:
        got = [packet.dts for packet in clip.demux(video=0) if packet.size]
    assert got == stored


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv", ".webm", ".avi"])
@pytest.mark.parametrize("part", [{}, {"start": 1.0}, {"start": 1.0, "end": 2.0}, {"end": 2.0}])
def test_sound_stays_in_step(tmp_path: Path, ending: str, part: dict) -> None:
    source = make_clip(tmp_path / "s.mkv", 75, sound=("aac", "libmp3lame"), click=1.52)
    target = tmp_path / f"a{ending}"
    copy(source, target, **part)
    start, end = part.get("start", 0.0), part.get("end", 3.0)
    times = picture_times(target)
    assert len(times) == round((end - start) * 25)
    # The flash of frame 38 would be at 1.52 s; what counts is the distance of sound and picture.
    shown = float(times[38 - round(start * 25)])
    if ending == ".avi":
        shown -= 1 / 25  # FFmpeg takes H.264 in avi to be reordered; stored is the true time
    for stream in range(2):
        assert abs(click_time(target, stream) - click_time(source, stream) - (shown - 1.52)) < 0.002
    with av.open(str(target)) as clip:
        assert len(clip.streams.audio) == 2
        seconds = clip.duration / 1e6
    assert abs(seconds - (end - start)) < 0.15  # mkv counts MP3's unheard start, a tenth


@pytest.mark.parametrize("late", [{"pts": [10 + n for n in range(50)]}, {}])
def test_a_late_picture_stays_late(tmp_path: Path, late: dict) -> None:
    source = make_clip(tmp_path / "s.mp4", 50, sound=("aac",), click=1.0, **late)
    copy(source, tmp_path / "a.mp4")
    assert picture_times(tmp_path / "a.mp4") == picture_times(source)
    assert click_time(tmp_path / "a.mp4") == pytest.approx(click_time(source), abs=1e-4)


def test_a_transport_stream_starts_at_zero(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.ts", 50, sound=("aac",), click=1.0)
    copy(source, tmp_path / "a.mp4")
    before, after = picture_times(source), picture_times(tmp_path / "a.mp4")
    assert before[0] > 0.05
    assert after[0] < 0.05
    shift = before[0] - after[0]
    assert [moment + shift for moment in after] == before
    heard = click_time(source) - click_time(tmp_path / "a.mp4")
    assert heard == pytest.approx(float(shift), abs=1e-3)


def test_sound_is_copied_bit_for_bit(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.mp4", 50, sound=("aac",))
    assert copy(source, tmp_path / "a.mp4").warnings == []

    def packets(path: Path) -> list[tuple[int | None, bytes]]:
        with av.open(str(path)) as clip:
            return [(p.pts, bytes(p)) for p in clip.demux(audio=0) if p.size]

    assert packets(tmp_path / "a.mp4") == packets(source)


def test_sound_that_does_not_fit_is_encoded_anew_and_said(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.mp4", 50, sound=("libmp3lame",), click=1.0)
    writer = copy(source, tmp_path / "a.webm")
    (warning,) = writer.warnings
    assert "mp3" in warning
    assert "libopus" in warning
    with av.open(str(tmp_path / "a.webm")) as clip:
        assert clip.streams.audio[0].codec_context.name == "opus"
    assert click_time(tmp_path / "a.webm") == pytest.approx(click_time(source), abs=0.002)


@pytest.mark.parametrize(
    ("source", "codec"),
    [
        ("s.mkv", "aac"),
        ("s.mkv", "ac3"),
        ("s.mkv", "libmp3lame"),
        ("s.mkv", "libopus"),
        ("s.mp4", "aac"),
        ("s.mp4", "ac3"),
        ("s.mp4", "libopus"),
    ],
)
def test_the_first_sound_is_kept(tmp_path: Path, source: str, codec: str) -> None:
    """Only a decoder's run-in is cut off, and once."""
    path = make_clip(tmp_path / source, 12, sound=(codec,), click=0.0)
    copy(path, tmp_path / "a.mkv")
    # Nothing says how long the run-in of mp4's AAC is: without it the click fades in.
    assert click_time(tmp_path / "a.mkv") == pytest.approx(0, abs=0.01)


def test_sound_and_pictures_are_interleaved(tmp_path: Path) -> None:
    source = make_clip(tmp_path / "s.mp4", 200, sound=("aac",))
    copy(source, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as clip:
        order = sorted(
            (p.pos, float(p.dts * p.time_base), p.stream.type) for p in clip.demux() if p.size
        )
    ahead = {"audio": 0.0, "video": 0.0}
    for _, moment, kind in order[:-60]:
        ahead[kind] = moment
        assert abs(ahead["audio"] - ahead["video"]) < 1.2


def test_metadata_and_pixel_shape_go_along(tmp_path: Path) -> None:
    source = make_clip(
        tmp_path / "s.mp4", 5, metadata={"title": "The Scream"}, aspect=Fraction(4, 3)
    )
    copy(source, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as clip:
        assert clip.metadata["title"] == "The Scream"
    assert probe(tmp_path / "a.mp4").sample_aspect == Fraction(4, 3)
    assert "stretched" in copy(source, tmp_path / "a.webm").warnings[0]


@pytest.mark.parametrize("name", ["a.gif", "a.%d.png", "a.%d.tif", "a.%d.exr", "a.avi", "a.mkv"])
def test_pixel_shape_goes_along(tmp_path: Path, name: str) -> None:
    source = make_clip(tmp_path / "s.mp4", 2, aspect=Fraction(4, 3))
    assert copy(source, tmp_path / name).warnings == []
    part = ClipSettings(fps=Fraction(25) if "%" in name else None)
    shape = probe(tmp_path / name, part).sample_aspect
    assert float(shape) == pytest.approx(4 / 3, abs=1 / 128)  # GIF counts in 64ths


@pytest.mark.parametrize("degrees", [90, 180, -90])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_rotation_is_restored(tmp_path: Path, degrees: int, mirrored: bool, ending: str) -> None:
    source = make_clip(
        tmp_path / "s.mp4", 3, rotation=degrees, mirrored=mirrored, aspect=Fraction(2, 1)
    )
    target = tmp_path / f"a{ending}"
    copy(source, target)
    with ClipReader(source) as one, ClipReader(target) as other:
        for a, b in zip(one, other, strict=True):
            assert np.abs(a.image - b.image).mean() < 0.02
        before, after = one.info, other.info
    assert (after.width, after.height) == (before.width, before.height)
    assert after.sample_aspect == before.sample_aspect
    expected = degrees % 360 if ending == ".mp4" else 0
    assert after.rotation_degrees == expected
    assert after.mirrored == (mirrored and ending == ".mp4")


def test_odd_sides(tmp_path: Path) -> None:
    image = gradient(65, 47)
    cut = write(tmp_path / "a.mp4", [image] * 2)
    assert "65x47 is cut to 64x46" in cut.warnings[0]
    assert (probe(tmp_path / "a.mp4").width, probe(tmp_path / "a.mp4").height) == (64, 46)
    with ClipReader(tmp_path / "a.mp4") as reader:
        assert np.abs(next(iter(reader)).image - image[:46, :64]).mean() * 255 < 2
    kept = write(tmp_path / "b.mp4", [image] * 2, OutputSettings(pix_fmt="yuv444p"))
    assert kept.warnings == []
    assert (probe(tmp_path / "b.mp4").width, probe(tmp_path / "b.mp4").height) == (65, 47)
    assert write(tmp_path / "c.webm", [image] * 2).warnings == []
    assert (probe(tmp_path / "c.webm").width, probe(tmp_path / "c.webm").height) == (65, 47)


def test_faststart(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [gradient()] * 3)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_the_same_frames_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    noise = [np.random.default_rng(n).random((48, 64, 3), np.float32) for n in range(30)]
    made = set()
    for _ in range(4):
        write(tmp_path / name, noise, OutputSettings(overwrite=True))
        made.add((tmp_path / name).read_bytes())
    assert len(made) == 1


def test_crf_sets_the_size(tmp_path: Path) -> None:
    noise = [np.random.default_rng(n).random((48, 64, 3), np.float32) for n in range(5)]
    for crf in (2, 6, 12, 40):
        write(tmp_path / f"{crf}.mp4", noise, OutputSettings(crf=crf))
    write(tmp_path / "usual.mp4", noise)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["2"] > 1.3 * sizes["12"] > 1.6 * sizes["40"]
    assert sizes["usual"] == sizes["6"]


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 3])
def test_nothing_is_left_after_a_failure(tmp_path: Path, failure: type, after: int) -> None:
    source = make_clip(tmp_path / "s.mp4", 10, sound=("aac",))
    target = tmp_path / "a.mp4"
    with (
        pytest.raises(failure),
        ClipReader(source) as reader,
        ClipWriter(target, reader.info, None, ClipSettings()) as writer,
    ):
        for frame in reader:
            if frame.index == after:
                assert not target.exists()
                raise failure
            writer.write(frame)
    assert os.listdir(tmp_path) == ["s.mp4"]


def test_an_overwritten_file_survives_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"the old one")
    with pytest.raises(RuntimeError), ClipWriter(target, info(), OutputSettings(overwrite=True)):
        raise RuntimeError
    assert target.read_bytes() == b"the old one"
    assert leftovers(tmp_path) == []


def test_a_clip_without_frames_is_no_clip(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="no frame"), ClipWriter(tmp_path / "a.mp4", info()):
        pass
    assert os.listdir(tmp_path) == []


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32x32"), ClipWriter(tmp_path / "a.mp4", info()) as writer:
        writer.write(Frame(np.zeros((32, 32, 3), np.float32), 0, 0, TIME_BASE))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("folder", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, folder: bool) -> None:
    """A limit on file size stands in for the disk: the same failing write."""
    program = """
        import resource, signal, sys
        from fractions import Fraction
        from pathlib import Path
        import numpy as np
        sys.path.insert(0, sys.argv[2])
        from tests.video.made_clips import info
        from vidstyle.errors import EncodeError
        from vidstyle.frame import Frame
        from vidstyle.video import ClipWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        rng = np.random.default_rng(0)
        try:
            with ClipWriter(Path(sys.argv[1]), info(width=160, height=120)) as writer:
                for n in range(100):
                    image = rng.random((120, 160, 3), np.float32)
                    writer.write(Frame(image, n, 512 * n, Fraction(1, 12800)))
        except EncodeError as error:
            sys.stdout.write(f"refused: {error}")
    """
    target = tmp_path / ("a.mkv" if folder else "a.mp4")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(target), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"refused: {target}: larger than")
    assert "\n" not in done.stdout
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks there for threads")
def test_no_thread_becomes_real_time(tmp_path: Path) -> None:
    """Under root SVT-AV1 would have all of them so, as it may have in tests before this one."""

    def threads() -> list[int]:
        return [int(thread) for thread in os.listdir("/proc/self/task")]

    for thread in threads():
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
    with ClipWriter(tmp_path / "a.mp4", info(), OutputSettings(codec="libsvtav1")) as writer:
        for frame in frames([gradient()] * 3, [0, 512, 1024], info().time_base):
            writer.write(frame)
        assert {os.sched_getscheduler(thread) for thread in threads()} == {os.SCHED_OTHER}


def test_an_existing_target_is_refused_first(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"precious")
    for refuse in (
        lambda: check_output(target, OutputSettings()),
        lambda: ClipWriter(target, info()),
    ):
        with pytest.raises(OutputError, match="--overwrite"):
            refuse()
    assert target.read_bytes() == b"precious"
    check_output(target, OutputSettings(overwrite=True))


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="mkdir -p"):
        check_output(tmp_path / "none" / "a.mp4", OutputSettings())
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        check_output(tmp_path / "dir.mp4", OutputSettings(overwrite=True))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OutputError, match="cannot be written"):
        check_output(closed / "a.mp4", OutputSettings())


@pytest.mark.parametrize(
    ("name", "settings", "rule"),
    [
        ("a.txt", {}, r"\.mp4, .*\.webm"),
        ("a", {}, r"\.mp4"),
        ("a.mp4", {"codec": "nonsense"}, "no such encoder; there are libx264"),
        ("a.mp4", {"codec": "aac"}, "encodes audio"),
        ("a.webm", {"codec": "libx264"}, r"a \.webm file cannot hold it; use libvpx-vp9"),
        ("a.webm", {"codec": "ffv1"}, "cannot hold"),
        ("a.mp4", {"pix_fmt": "nonsense"}, "--pix-fmt nonsense"),
        ("a.mp4", {"pix_fmt": "gbrp"}, "libx264 takes yuv420p"),
        ("a.mp4", {"codec": "libsvtav1", "pix_fmt": "yuv444p"}, "libsvtav1 takes yuv420p"),
        ("a.mov", {"codec": "prores_ks", "crf": 20}, "prores_ks has no such scale"),
        ("a.mp4", {"crf": 60}, "between 0 and 51"),
        ("a.webm", {"crf": 20.5}, "whole number"),
    ],
)
def test_what_cannot_be_encoded_is_refused(
    tmp_path: Path, name: str, settings: dict, rule: str
) -> None:
    with pytest.raises(SettingsError, match=rule) as caught:
        check_output(tmp_path / name, OutputSettings(**settings))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_frames_than_x265_reorders(tmp_path: Path, count: int) -> None:
    """Which gives two of them times of decoding that no muxer takes."""
    write(tmp_path / "a.mp4", [gradient(128, 96)] * count, OutputSettings(codec="libx265"))
    assert picture_times(tmp_path / "a.mp4") == [Fraction(n, 25) for n in range(count)]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real.mp4").write_bytes(b"old")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    write(tmp_path / "link.mp4", [gradient()] * 2, OutputSettings(overwrite=True))
    assert (tmp_path / "link.mp4").is_symlink()
    assert len(picture_times(tmp_path / "real.mp4")) == 2


@pytest.mark.parametrize("name", ["cockatoo.mp4", "nasa.mp4", "transparent.webm", "rotated_90.mov"])
def test_real_clips_go_through(tmp_path: Path, name: str) -> None:
    source = real_clip(name)
    writer = copy(source, tmp_path / "a.mp4", size=96, end=1.0)
    times = picture_times(tmp_path / "a.mp4")
    expected = [moment for moment in picture_times(source) if moment < 1]
    assert times == expected
    said = {"nasa.mp4": ["video stream 2"], "transparent.webm": ["vorbis", "transparency"]}
    for warning, what in zip(writer.warnings, said.get(name, []), strict=True):
        assert what in warning
    with av.open(str(tmp_path / "a.mp4")) as clip:
        assert len(clip.streams.audio) == probe(source).sound_streams
