"""What cannot work: one line on stderr, the right exit status, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from tests.conftest import TINY, Outcome, Vidstyle
from tests.core.toys import little_memory
from tests.video.made_clips import make_clip, texture
from vidstyle.errors import InputError

QUICK = ("--steps", "1", *TINY)


def refusal(done: Outcome, status: int = 2) -> str:
    """The one line after `error: `."""
    lines = done.err.splitlines()
    assert done.status == status, done
    assert len(lines) == 1 and lines[0].startswith("error: "), done.err
    assert done.out == ""
    return lines[0].removeprefix("error: ")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory, clip: Path, painting: Path) -> Path:
    """A folder of files that are not what they should be."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "folder.mp4").mkdir()
    (folder / "empty.mp4").touch()
    (folder / "empty.png").touch()
    (folder / "text.mp4").write_text("not a clip\n" * 100)
    (folder / "text.png").write_text("not a picture\n")
    (folder / "cut.mp4").write_bytes(clip.read_bytes()[:700])
    (folder / "cut.png").write_bytes(painting.read_bytes()[:900])
    (folder / "cut.pth").write_bytes(b"PK\x03\x04 and no more")
    (folder / "cut.safetensors").write_bytes(b"\x08\x00\x00\x00")
    torch.save({"features.0.weight": torch.zeros(4, 3, 3, 3)}, folder / "other.pth")
    torch.save([1, 2, 3], folder / "list.pth")
    _sound_only(folder / "sound.m4a")
    Image.new("RGB", (4, 4)).save(folder / "speck.png")
    return folder


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48000)
        stream.codec_context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.mp4", "no such file"),
        ("folder.mp4", "is a folder"),
        ("empty.mp4", "not a video"),
        ("text.mp4", "not a video"),
        ("cut.mp4", "not a video"),
        ("sound.m4a", "has no video stream"),
        ("speck.png", "a picture, not a clip; use `vidstyle image`"),
    ],
)
@pytest.mark.parametrize("command", ["run", "preview"])
def test_no_clip(
    vidstyle: Vidstyle, bad: Path, painting: Path, command: str, name: str, said: str
) -> None:
    line = refusal(vidstyle(command, bad / name, "--style", painting))
    assert line.startswith(f"{bad / name}: ") and said in line
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.png", "no such file"),
        ("folder.mp4", "is a folder"),
        ("empty.png", "not a picture"),
        ("text.png", "not a picture"),
        ("cut.png", "damaged"),
        ("speck.png", "4x4 pixels; must be at least 8"),
    ],
)
def test_no_picture(
    vidstyle: Vidstyle, bad: Path, clip: Path, painting: Path, name: str, said: str
) -> None:
    """As the painting of a clip, the second painting of a still, and the still itself."""
    for line in (
        ("run", clip, "--style", bad / name, "-o", "a.mp4"),
        ("image", painting, "--style", painting, "--style", bad / name, "-o", "a.png"),
        ("image", bad / name, "--style", painting, "-o", "a.png"),
    ):
        text = refusal(vidstyle(*line))
        assert text.startswith(f"{bad / name}: ") and said in text
    assert os.listdir() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders there")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run PIPE.mp4 --style PAINTING", "not a regular file; name a clip"),
        ("preview PIPE.mp4 --style PAINTING", "not a regular file; name a clip"),
        ("measure CLIP --source PIPE.mp4", "not a regular file; name a clip"),
        ("run PIPE.%d.png --fps 24 --style PAINTING", "not a regular file; name a picture"),
        ("run CLIP --style PIPE.png", "not a regular file; name a picture"),
        ("image PIPE.png --style PAINTING", "not a regular file; name a picture"),
        ("run CLIP --style PAINTING --weights PIPE.pth", "no such weights file"),
        ("run CLIP --style PAINTING --flow raft --flow-weights PIPE.pth", "no such weights file"),
        ("batch PIPE.toml", "not a regular file; name a job file"),
        ("batch JOBS", "pipe.mp4: no such file"),
    ],
)
def test_a_pipe_that_nobody_writes_into_is_not_waited_for(
    vidstyle: Vidstyle, tmp_path: Path, clip: Path, painting: Path, line: str, said: str
) -> None:
    for ending in ("mp4", "png", "1.png", "pth", "toml"):
        os.mkfifo(tmp_path / f"pipe.{ending}")
    jobs = tmp_path / "jobs.toml"
    jobs.write_text(f'[[job]]\nclip = "pipe.mp4"\nstyle = "{painting}"\n')
    words = line.replace("PIPE", str(tmp_path / "pipe")).replace("CLIP", str(clip))
    words = words.replace("PAINTING", str(painting)).replace("JOBS", str(jobs))
    assert said in refusal(vidstyle(*words.split()))


@pytest.mark.parametrize("size", [(2, 2), (3, 500), (64, 6)])
def test_a_clip_too_small_is_told_the_rule_alone(
    vidstyle: Vidstyle, tmp_path: Path, painting: Path, size: tuple[int, int]
) -> None:
    path = make_clip(tmp_path / "s.mkv", 2, size=size, codec="ffv1", pix_fmt="yuv444p")
    line = refusal(vidstyle("run", path, "--style", painting, "-o", "a.mp4", *TINY))
    assert line.startswith(f"{size[0]}x{size[1]} pixels: must be at least 8 a side")
    assert os.listdir() == []


def _cmyk(path: Path, picture: Image.Image) -> None:
    picture.convert("CMYK").save(path.with_suffix(".jpg"))


def _sixteen_bits(path: Path, picture: Image.Image) -> None:
    grey = np.asarray(picture.convert("L"), np.uint16) * 257
    Image.fromarray(grey).save(path.with_suffix(".png"))


def _transparent(path: Path, picture: Image.Image) -> None:
    whole = picture.convert("RGBA")
    whole.putalpha(Image.linear_gradient("L").resize(picture.size))
    whole.save(path.with_suffix(".png"))


def _palette(path: Path, picture: Image.Image) -> None:
    picture.quantize(16).save(path.with_suffix(".gif"))


def _turned(path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    picture.save(path.with_suffix(".jpg"), exif=exif)


def _profiled(path: Path, picture: Image.Image) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.save(path.with_suffix(".tif"), icc_profile=lab)


@pytest.mark.parametrize("save", [_cmyk, _sixteen_bits, _transparent, _palette, _turned, _profiled])
def test_pictures_of_all_kinds_work(vidstyle: Vidstyle, tmp_path: Path, save) -> None:
    save(tmp_path / "kind", Image.fromarray(np.uint8(texture(1, 40, 60) * 255)))
    (kind,) = tmp_path.glob("kind.*")
    done = vidstyle("image", kind, "--style", kind, "-o", "a.png", *TINY)
    assert done.status == 0, done.err
    with Image.open("a.png") as result:
        assert result.size == ((60, 40) if save is _turned else (40, 60))
        assert np.asarray(result).std() > 20  # not black, not white


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--steps 0", "--steps 0: must be between 1 and 10000"),
        ("--steps -3", "--steps -3: must be between 1 and 10000"),
        ("--steps 1.5", "--steps 1.5: must be a whole number"),
        ("--first-steps 0", "--first-steps 0: must be between"),
        ("--size -5", "--size -5: must be between 16 and 16384"),
        ("--size 1000000", "--size 1000000: must be between"),
        ("--size big", "--size big: must be a whole number"),
        ("--crf 99", "--crf 99: must be between 0 and 63"),
        ("--crf 60", "--crf 60: must be between 0 and 51 for libx264"),
        ("--crf -1", "--crf -1: must be between"),
        ("--crf 16 --codec prores_ks -o a.mov", "prores_ks has no such scale"),
        ("--content-weight nan", "--content-weight nan: must be between"),
        ("--style-weight -1", "--style-weight -1: must be between"),
        ("--tv-weight inf", "--tv-weight inf: must be between"),
        ("--brush 0", "--brush 0: must be between 0.25 and 8"),
        ("--temporal-weight much", "--temporal-weight much: must be a number"),
        ("--threads -1", "--threads -1: must be between 0 and 1024"),
        ("--seed -1", "--seed -1: must be between 0 and"),
        ("--start abc", "--start abc: write seconds or HH:MM:SS.mmm"),
        ("--start -1", "--start -1: write seconds"),
        ("--end 1:2:3:4", "--end 1:2:3:4: write seconds"),
        ("--duration nan", "--duration nan: write seconds"),
        ("--duration 0", "--duration 0: must be more than 0"),
        ("--start 2 --end 1", "--end 1: must be after --start 2"),
        ("--end 1 --duration 1", "give one of the two"),
        ("--start 1:00 -o a.mp4", "no frame of"),
        ("--features nope", "--features nope: must be one of lite, vgg19"),
        ("--flow magic", "--flow magic: must be one of dis"),
        ("--flow-weights a.pth", "--flow-weights a.pth: dis has none; add --flow raft"),
        ("--flow none --flow-weights a.pth", "must be left out with --flow none"),
        ("--flow raft --flow-weights BAD/nowhere.pth", "no such weights file"),
        ("--flow raft --flow-weights BAD/other.pth", "not weights of torchvision's raft_large"),
        ("--precision half", "--precision half: must be one of auto, fp32, bf16, fp16"),
        ("--precision fp16 --device cpu", "--precision fp16: 16 x slower"),
        ("--device gpu", "--device gpu: use auto, cpu, cuda"),
        ("--device cuda:77", "--device cuda:77: this machine shows"),
        ("--style-layers relu9_9", "layer relu9_9: lite has relu1_1"),
        ("--style-layers ,", "--style-layers ,: name at least one layer"),
        ("--content-layer pool1", "layer pool1: lite has relu1_1"),
        ("--weights BAD/nowhere.pth", "no such weights file"),
        ("--weights BAD/text.png", "not a plain state dict"),
        ("--weights BAD/cut.pth", "not a plain state dict"),
        ("--weights BAD/cut.safetensors", "not a plain state dict"),
        ("--weights BAD/list.pth", "not a plain state dict"),
        ("--weights BAD/other.pth", "not weights of lite"),
        ("--features vgg19 --weights BAD/other.pth", "the weights lack"),
        ("--codec nope", "--codec nope: no such encoder; there are libx264"),
        ("--codec aac", "--codec aac: encodes audio"),
        ("--codec libx264 -o a.webm", "a .webm file cannot hold it"),
        ("--pix-fmt nope", "--pix-fmt nope: "),
        ("-o a.txt", "a.txt: its name must end in one of .mp4"),
        ("-o nowhere/a.mp4", "there is no folder nowhere"),
        ("-o BAD/text.mp4", "exists already; pass --overwrite or another name with -o"),
        ("-y -o BAD/folder.mp4", "not a regular file"),
        ("-y -o CLIP", "is the source itself; name another file with -o"),
        ("--report nowhere/a.json", "there is no folder nowhere"),
        ("--report BAD/text.png", "exists already; pass --overwrite or another name with --report"),
        ("-y --report BAD", "not a regular file"),
        ("-y --report CLIP", "is also the clip"),
        ("-o a.mp4 --report ./a.mp4", "is also the clip, a painting or a result"),
        ("--no-resume --keep-work", "--no-resume stores no finished work: leave out"),
        ("--no-resume --work-dir a", "--no-resume stores no finished work: leave out"),
        ("--work-dir BAD/text.png", "cannot be made (Not a directory); name another folder"),
        ("--frobnicate", "No such option: --frobnicate; see vidstyle run --help"),
        ("more", "unexpected extra argument"),
        ("--steps", "requires an argument"),
    ],
)  # fmt: skip
def test_a_wrong_request(
    vidstyle: Vidstyle, bad: Path, clip: Path, painting: Path, options: str, said: str
) -> None:
    before = {path: path.read_bytes() for path in [clip, *bad.iterdir()] if path.is_file()}
    words = options.replace("BAD", str(bad)).replace("CLIP", str(clip)).split()
    done = vidstyle("run", clip, "--style", painting, "-q", *TINY[2:], *words)
    assert said in refusal(done)
    assert os.listdir() == []
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dance", "No such command 'dance'; see vidstyle --help"),
        ("run", "Missing argument 'CLIP'; see vidstyle run --help"),
        ("run a.mp4", "Missing option '--style'; see vidstyle run --help"),
        ("image a.png --style b.png --size 3", "--size 3: must be between 16"),
        ("image a.png --style b.png -o a.mp4", "must end in one of .png"),
        ("preview a.mp4 --style b.png --count 0", "--count 0: must be between 1 and 64"),
    ],
)
def test_a_wrong_line(vidstyle: Vidstyle, line: str, said: str) -> None:
    assert said in refusal(vidstyle(*line.split()))


def test_no_gpu(vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    line = refusal(vidstyle("run", clip, "--style", painting, "--device", "cuda"))
    assert line.startswith("--device cuda: this machine shows 0 CUDA devices; use auto or cpu")


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [(("--features", "vgg19"), "pass --weights FILE, or use --features lite"),
     (("--flow", "raft"), "pass --flow-weights FILE, or use --flow dis")],
)  # fmt: skip
def test_weights_that_cannot_be_fetched(
    vidstyle: Vidstyle,
    clip: Path,
    painting: Path,
    tmp_path: Path,
    monkeypatch,
    asked: tuple[str, str],
    remedy: str,
) -> None:
    def unreachable(*arguments: object, **more: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "none"))
    monkeypatch.setattr("urllib.request.OpenerDirector.open", unreachable)
    done = vidstyle("run", clip, "--style", painting, *asked)
    assert done.status == 2 and os.listdir() == []
    line = done.err.splitlines()[-1]
    assert line.startswith(f"error: {asked[1]}: its weights could not be fetched")
    assert line.endswith(remedy)


def test_out_of_memory_is_one_line(
    vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch
) -> None:
    def fail(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nAnd more.")

    monkeypatch.setattr("vidstyle.stylize.OptimizingStyler.next_frame", fail)
    line = refusal(vidstyle("run", clip, "--style", painting, "-q", *TINY), status=1)
    assert line.startswith("out of memory (CUDA out of memory. Tried") and "--size" in line
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("command", "target"), [("run", ".mp4"), ("image", ".png"), ("preview", ".png")]
)
def test_where_strips_need_less_memory_the_work_is_done_and_that_is_said(
    vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch, command: str, target: str
) -> None:
    little_memory(monkeypatch, 52)  # what the smallest strip of several sees
    monkeypatch.setattr("vidstyle.optimize.NARROWEST", 1)
    source = painting if command == "image" else clip
    done = vidstyle(command, source, "--style", painting, *TINY, "-o", f"out{target}")
    assert done.status == 0, done.err
    assert done.err.count("warning: the device had too little memory") == 1


def test_a_bug_of_ours_is_one_line_and_with_v_a_traceback(
    vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch
) -> None:
    def fail(*arguments: object) -> None:
        raise ZeroDivisionError("planted\nin two lines")

    monkeypatch.setattr("vidstyle.stylize.OptimizingStyler.next_frame", fail)
    command = ("run", clip, "--style", painting, *TINY)
    line = refusal(vidstyle(*command, "-q"), status=1)
    assert line.startswith("unexpected ZeroDivisionError: planted; run again with -v")
    for asked in ("-v", "-qv", "--verbose"):
        done = vidstyle(*command, asked)
        assert done.status == 1 and "Traceback" in done.err
        assert done.err.splitlines()[-1].startswith("error: unexpected ZeroDivisionError")
    monkeypatch.setenv("VIDSTYLE_VERBOSE", "1")
    assert "Traceback" in vidstyle(*command).err


def test_a_report_that_fails_late_leaves_the_clip(
    vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch
) -> None:
    def full(self: Path, *arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    line = ("run", clip, "--style", painting, "-q", "--end", "0.02", "--no-resume")
    line += ("--report", "r.json")
    text = refusal(vidstyle(*line, *QUICK), status=1)
    assert "No space left on device" in text and "the clip itself is complete" in text
    assert os.listdir() == ["clip-wave.mp4"]


def test_a_result_that_cannot_be_measured_is_kept(
    vidstyle: Vidstyle, clip: Path, painting: Path, monkeypatch
) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise InputError("planted")

    monkeypatch.setattr("vidstyle.measure.measure_video", fail)
    line = ("run", clip, "--style", painting, "-q", "--end", "0.02", "--report", "r.json")
    text = refusal(vidstyle(*line, *QUICK), status=1)
    assert text == "--report r.json: planted; the clip itself is complete"
    assert os.listdir() == ["clip-wave.mp4"]


def _run_limited(code: str, *arguments: object, **environment: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_a_library_opencv_lacks(clip: Path, painting: Path, tmp_path: Path) -> None:
    """On a bare server `import cv2` fails: the whole command still says what to install."""
    package = tmp_path / "fake" / "cv2"
    package.mkdir(parents=True)
    missing = "libGL.so.1: cannot open shared object file: No such file or directory"
    (package / "__init__.py").write_text(f"raise ImportError({missing!r})\n")
    work = tmp_path / "work"
    work.mkdir()
    done = _run_limited(
        "from vidstyle.cli import main; main()",
        *("run", clip, "--style", painting, "-q", "-o", work / "a.mp4", *QUICK),
        PYTHONPATH=str(tmp_path / "fake"),
    )
    assert "libGL.so.1" in refusal(done, status=1) and "apt-get install" in done.err
    assert os.listdir(work) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--no-resume", "--passes", "1"), "b.mkv: larger than files may be here"),
        pytest.param(
            ("--no-resume",),
            "could not be written (File too large); free some space",
            marks=pytest.mark.slow,
        ),
        ((), "could not be written (File too large); free some space, or name another folder"),
    ],
)
def test_a_full_disk(painting: Path, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    """A limit on files' size fails a write halfway as a full disk does."""
    source = make_clip(tmp_path / "a.mp4", 12)
    work = tmp_path / "work"
    work.mkdir()
    done = _run_limited(
        """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
        from vidstyle.cli import main
        main()
        """,
        *(
            "run",
            source,
            "--style",
            painting,
            "-q",
            "-o",
            work / "b.mkv",
            "--codec",
            "ffv1",
            *more,
            *QUICK,
        ),
    )
    assert said in refusal(done, status=1)
    assert os.listdir(work) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    Path("locked").mkdir(mode=0o555)
    line = refusal(vidstyle("run", clip, "--style", painting, "-o", "locked/a.mp4"))
    assert "the folder locked cannot be written" in line
