from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from tests.conftest import TINY, Vidstyle
from tests.video.made_clips import click_time, make_clip, picture_times, real_clip
from vidstyle import __version__, cli, progress
from vidstyle.device import Compute
from vidstyle.features import FEATURES
from vidstyle.flow import FLOWS
from vidstyle.frame import ClipInfo, ColourTags
from vidstyle.measure import measure_video
from vidstyle.options import OPTIONS, RenderSettings, parse_time
from vidstyle.render import FrameDone, Report, Started, Warned
from vidstyle.settings import StyleSettings, WorkSettings
from vidstyle.video import ClipReader, probe

COMMANDS = ("run", "image", "preview", "measure", "batch", "info")
QUICK = ("--steps", "1", "--passes", "1", *TINY)
# FFV1 holds few frames back, a single pass none: the hidden file is soon there.
SLOW = ("--codec", "ffv1", "--steps", "10", "--passes", "1", *TINY)
COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")
REPORT = Report(
    "out.mp4", "clip.mp4", 48, 0, 2, 64, 48, 24.0, 2.0, None, "cpu", "fp32", "lite", 4, 50,
    1, 1.0, "dis", 0, 0, 1e-3, 2e-3, 0.5, (),
)  # fmt: skip


def python(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **more)


def test_nothing_heavy_is_imported_for_help() -> None:
    """Which keeps it under half a second, a processor to itself; a clock would tell of the load."""
    heavy = {"torch", "torchvision", "cv2", "av", "numpy", "scenedetect", "PIL", "matplotlib"}
    code = (
        "import atexit, sys; sys.argv = ['vidstyle', '--help']\n"
        f"atexit.register(lambda: print({heavy} & set(sys.modules)))\n"
        "from vidstyle.cli import main; main()"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "set()", done.stderr
    assert "Turn a clip into a moving painting." in done.stdout


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_everywhere(vidstyle: Vidstyle, command: tuple[str, ...], flag: str) -> None:
    done = vidstyle(*command, flag)
    assert done.status == 0 and done.err == ""
    assert done.out.startswith("Usage: vidstyle")


def test_help_groups_the_options(vidstyle: Vidstyle) -> None:
    text = vidstyle("run", "-h").out
    for panel in ("Arguments", "Look", "Part", "Machine", "File", "Messages"):
        assert f"\n{panel}:\n" in text
    assert text.index("Look:") < text.index("--style IMAGE") < text.index("File:")
    assert "VIDSTYLE_RUN_SIZE" in text


def test_without_arguments_the_help_is_shown(vidstyle: Vidstyle) -> None:
    done = vidstyle()
    assert done.status == 0 and "Commands:" in done.out


def test_version(vidstyle: Vidstyle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"vidstyle \d+\.\d+\.\d+\n", vidstyle("--version").out)
    monkeypatch.setenv("VIDSTYLE_VERSION", "1")
    assert "Commands:" in vidstyle().out


def test_choices_are_the_registries() -> None:
    """`farneback` judges renders, so none is made with it."""
    assert set(cli.FEATURES) == set(FEATURES)
    assert set(cli.FLOWS) == set(FLOWS) - {"farneback"} | {"none"}


def test_every_option_of_the_contract_is_there() -> None:
    options = {name for parameter in run_options() for name in parameter.opts}
    contract = """--style -o --features --weights --style-layers --content-layer --size --steps
        --first-steps --style-weight --content-weight --tv-weight --temporal-weight --flow
        --flow-weights --start --end --duration --device --precision --threads --codec --crf
        --pix-fmt --seed -y --overwrite --resume --work-dir --keep-work
        --report -q --quiet -v --verbose"""
    assert set(contract.split()) <= options


def run_options() -> list[Any]:
    command = cli.build_command().commands["run"]
    return [entry for entry in command.params if entry.param_type_name == "option"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a render was asked for, instead of the render."""
    seen: dict[str, Any] = {}

    def note(
        clip: Path, styles: list[Path], target: Path, settings: RenderSettings, on_event: object
    ) -> Report:
        seen.update(vars(settings), clip=clip, styles=styles, target=target)
        return REPORT

    monkeypatch.setattr("vidstyle.render.stylize_clip", note)
    return seen


def test_defaults_are_those_of_the_settings(vidstyle: Vidstyle, asked: dict[str, Any]) -> None:
    assert vidstyle("run", "a clip.mov", "--style", "x/the wave.jpg").status == 0
    assert asked["look"] == StyleSettings()
    assert asked["target"] == Path("a clip-the wave.mov")
    assert (asked["part"].size, asked["part"].start, asked["part"].end) == (None, 0, None)


def test_every_option_arrives(vidstyle: Vidstyle, asked: dict[str, Any]) -> None:
    line = """--features vgg19 --weights w.pth --style-layers relu1_1,relu2_1
        --content-layer relu3_1 --size 200 --steps 2 --first-steps 3 --style-weight 4
        --content-weight 5 --tv-weight 6 --temporal-weight 7 --brush 0.5 --flow raft
        --flow-weights f.pth --start 1:02.5 --duration 8 --device cpu --precision bf16 --threads 9
        --codec libx265 --crf 10.5 --pix-fmt yuv420p10le --seed 11 -y --work-dir w --keep-work"""
    assert vidstyle("run", "a.mp4", "--style", "b", "--style", "c", *line.split()).status == 0
    weights = Path("f.pth")
    assert asked["look"] == StyleSettings(2, 3, 4, 5, 6, 7, "raft", weights, brush=0.5)
    part, network = asked["part"], asked["features"]
    assert (part.start, part.end, part.size, part.threads) == (62.5, 70.5, 200, 9)
    assert (network.name, network.weights) == ("vgg19", Path("w.pth"))
    assert (network.style_layers, network.content_layer) == (("relu1_1", "relu2_1"), "relu3_1")
    compute, output = asked["compute"], asked["output"]
    assert (compute.device, compute.precision) == ("cpu", "bf16")
    assert (compute.threads, compute.seed) == (9, 11)
    assert (output.codec, output.crf, output.pix_fmt) == ("libx265", 10.5, "yuv420p10le")
    assert output.overwrite
    assert asked["work"] == WorkSettings(Path("w"), True, True)
    assert asked["styles"] == [Path("b"), Path("c")]


def test_every_option_of_a_render_is_known_by_name() -> None:
    """Which is how a job file asks: what concerns one command's own files and talk is left out."""
    own = {"style", "out", "report", "quiet", "verbose"}
    assert {option.name for option in run_options()} - {"help"} == set(OPTIONS) | own


def test_every_option_has_its_environment_variables() -> None:
    for option in run_options():
        words = option.opts[-1].lstrip("-").replace("-", "_").upper()
        assert option.envvar == [f"VIDSTYLE_RUN_{words}", f"VIDSTYLE_{words}"]


def test_the_environment_sets_options(
    vidstyle: Vidstyle, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"STYLE": f"a b.jpg{os.pathsep}c.jpg", "SIZE": "100", "STEPS": "5", "CRF": "20"}
    for name, value in (settings | {"RUN_STEPS": "6", "OVERWRITE": "1"}).items():
        monkeypatch.setenv(f"VIDSTYLE_{name}", value)
    assert vidstyle("run", "a.mp4", "--crf", "12").status == 0
    assert asked["styles"] == [Path("a b.jpg"), Path("c.jpg")]
    assert (asked["part"].size, asked["look"].steps, asked["output"].crf) == (100, 6, 12)
    assert asked["output"].overwrite
    monkeypatch.setenv("VIDSTYLE_STEPS", "many")
    monkeypatch.delenv("VIDSTYLE_RUN_STEPS")
    assert vidstyle("run", "a.mp4").err == "error: --steps many: must be a whole number\n"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1.5", 1.5), ("90", 90), ("1:02.5", 62.5), ("01:02:03.004", 3723.004), ("7.", 7)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time("--start", text) == pytest.approx(seconds, abs=1e-9)


def test_a_finished_clip(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    """Opened again, it has the source's frames, times, size, colour tags and sound."""
    usual = ("--steps", "1", *TINY, "--precision", "auto")  # and as many passes
    done = vidstyle("run", clip, "--style", painting, "--report", "figures.json", *usual)
    assert done.status == 0 and done.out == ""
    assert sorted(os.listdir()) == ["clip-wave.mp4", "figures.json"]
    target = Path("clip-wave.mp4")
    assert picture_times(target) == [Fraction(ms, 1000) for ms in (0, 40, 80, 200, 240)]
    info = probe(target)
    assert (info.width, info.height, info.sound_streams) == (64, 48, 1)
    assert (info.codec, info.pix_fmt) == ("h264", "yuv420p")
    assert info.colour == ColourTags(1, 1, 1, False)
    assert click_time(target) == pytest.approx(click_time(clip), abs=0.002)

    figures = json.loads(Path("figures.json").read_text())
    expected = {"frames": 5, "width": 64, "height": 48, "shots": 1, "steps": 1, "first_steps": 1}
    expected |= {"device": "cpu", "features": "lite", "flow": "dis", "result": "clip-wave.mp4"}
    expected |= {"passes": 2}
    assert {key: figures[key] for key in expected} == expected
    assert figures["frames_per_second"] == pytest.approx(5 / figures["seconds"], rel=0.01)
    assert figures["peak_memory_mb"] > 50 and figures["precision"] in ("fp32", "bf16")
    measured = measure_video(target, clip, [painting])
    assert {key: figures[key] for key in measured.figures} == pytest.approx(measured.figures)
    assert figures["warp_error_series"] == pytest.approx(measured.series["warp_error_series"])

    opening, *lines = done.err.splitlines()
    assert opening.startswith("clip.mp4: 64x48, 5 frames at ")
    # Not always the last line: on a busy machine measuring tells how far it is.
    (closing,) = (line for line in lines if line.startswith("clip-wave.mp4: "))
    assert closing.startswith("clip-wave.mp4: 64x48, 5 frames in 1 shot, ")
    assert "the source's own" in closing


def test_a_part_at_another_size(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    done = vidstyle(
        "run", clip, "--style", painting, "--style", painting, "-o", "part.mp4", "--size", "32",
        "--start", "0:00:00.040", "--duration", "0.1", *QUICK,
    )  # fmt: skip
    assert done.status == 0
    assert picture_times(Path("part.mp4")) == [0, Fraction(40, 1000)]
    assert done.err.splitlines()[-1].startswith("part.mp4: 32x24, 2 frames in 1 shot, ")
    assert (probe(Path("part.mp4")).width, probe(Path("part.mp4")).height) == (32, 24)


def test_a_render_along_raft(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    """Weights that were taught nothing lead elsewhere than DIS does."""
    from torchvision.models.optical_flow import raft_large

    torch.save(raft_large().state_dict(), "raft.pth")
    last = {}
    for flow, more in {"dis": (), "raft": ("--flow-weights", "raft.pth")}.items():
        out = ("-o", f"{flow}.mp4", "--report", f"{flow}.json", "--end", "0.05", *QUICK)
        assert vidstyle("run", clip, "--style", painting, "--flow", flow, *more, *out).status == 0
        figures = json.loads(Path(f"{flow}.json").read_text())
        assert figures["flow"] == flow
        with ClipReader(Path(f"{flow}.mp4")) as reader:
            last[flow] = [frame.image for frame in reader][-1]
    assert np.abs(last["dis"] - last["raft"]).max() > 4 / 255


@pytest.mark.parametrize(
    ("size", "pictures", "written"),
    [((64, 48), 1, (64, 48)), ((16, 16), 2, (16, 16)), ((20, 300), 2, (20, 300)),
     ((63, 47), 2, (62, 46))],
)  # fmt: skip
def test_odd_clips(
    vidstyle: Vidstyle,
    painting: Path,
    tmp_path: Path,
    size: tuple[int, int],
    pictures: int,
    written: tuple[int, int],
) -> None:
    source = make_clip(tmp_path / "odd.mkv", pictures, size=size, codec="ffv1", pix_fmt="bgr0")
    done = vidstyle("run", source, "--style", painting, "-o", "a.mp4", "--report", "r.json", *QUICK)
    assert done.status == 0, done.err
    info, figures = probe(Path("a.mp4")), json.loads(Path("r.json").read_text())
    assert (info.width, info.height) == written
    assert (figures["width"], figures["height"], figures["frames"]) == (*written, pictures)
    assert len(picture_times(Path("a.mp4"))) == pictures
    assert ("warning: 63x47 is cut" in done.err) == (size == (63, 47))


@pytest.mark.parametrize("name", ["rotated_90.mov", "transparent.webm", "corrupted.mp4"])
def test_real_clips(vidstyle: Vidstyle, painting: Path, name: str) -> None:
    source = real_clip(name)
    done = vidstyle("run", source, "--style", painting, "--size", "48", "--end", "0.15", *QUICK)
    assert done.status == 0, done.err
    (written,) = map(Path, os.listdir())
    upright = probe(source)
    assert probe(written).rotation_degrees == upright.rotation_degrees
    assert (probe(written).width < probe(written).height) == (upright.width < upright.height)


@pytest.mark.parametrize(
    "name", ["take12:30, a film.mp4", "фильм é 🎬.mp4", "-dash.mp4", "100%d.mp4"]
)
def test_names_of_all_kinds(vidstyle: Vidstyle, clip: Path, painting: Path, name: str) -> None:
    Path(name).write_bytes(clip.read_bytes())
    options = ("--style", painting, "--end", "0.02", "--flow", "none", *QUICK)
    assert vidstyle("run", *options, "--", name).status == 0
    made = Path(f"{Path(name).stem}-wave.mp4")
    assert picture_times(made.absolute()) == [0]
    assert vidstyle("run", *options, "-o", "./out: 2.mp4", "--", name).status == 0
    assert sorted(os.listdir()) == sorted([name, str(made), "out: 2.mp4"])


def test_image_sequences_go_in_and_out(vidstyle: Vidstyle, painting: Path) -> None:
    for number in (1001, 1002, 1003):
        Image.new("RGB", (64, 48), (number - 900, 40, 90)).save(f"shot.{number}.png")
    options = ("shot.%04d.png", "--style", painting, "--flow", "none", "-q", *QUICK)
    refused = vidstyle("run", *options)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "--fps 24" in refused.err
    assert vidstyle("run", *options, "--fps", "nan").status == 2
    assert vidstyle("run", *options, "--fps", "1e400").status == 2
    assert vidstyle("run", *options, "--fps", "23.976").status == 0
    rate = Fraction(24000, 1001)
    assert picture_times(Path("shot-wave.mp4")) == [index / rate for index in range(3)]
    assert vidstyle("run", *options, "--fps", "24", "-o", "out.%04d.exr").status == 0
    assert sorted(Path().glob("out.*")) == [Path(f"out.{n}.exr") for n in (1001, 1002, 1003)]


def test_settings_are_kept_in_the_result(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    options = ("--style", painting, "--end", "0.02", "-o", "a.mp4", "--tv-weight", "0.25")
    assert vidstyle("run", clip, *options, *QUICK).status == 0
    with av.open("a.mp4") as made:
        name, version, used = made.metadata["comment"].split(" ", 2)
    assert (name, version) == ("vidstyle", __version__)
    assert json.loads(used)["tv_weight"] == 0.25
    assert json.loads(used)["paintings"] == ["wave.png"]


def test_overwrite_replaces(vidstyle: Vidstyle, clip: Path, painting: Path) -> None:
    Path("a.mp4").write_text("old")
    done = vidstyle("run", clip, "--style", painting, "-o", "a.mp4", "-yq", "--end", "0.02", *QUICK)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert picture_times(Path("a.mp4")) == [0]


def test_image(vidstyle: Vidstyle, painting: Path) -> None:
    done = vidstyle("image", painting, "--style", painting, "--size", "48", *TINY)
    assert done.status == 0
    assert re.fullmatch(r"wave-wave\.png: written in [\d.]+ s\n", done.err)
    with Image.open("wave-wave.png") as picture:
        assert picture.size == (48, 40)
        used = picture.getexif()[ExifTags.Base.ImageDescription].split(" ", 2)[2]
    assert json.loads(used)["paintings"] == ["wave.png"]


def test_preview(vidstyle: Vidstyle, tmp_path: Path, painting: Path) -> None:
    """Sources above: of 12 frames at levels 40, 44, …, those in the middle of each third."""
    source = make_clip(tmp_path / "grey.mp4", 12)
    done = vidstyle("preview", source, "--style", painting, "--count", "3", *TINY)
    assert done.status == 0, done.err
    with Image.open("grey-wave.png") as picture:
        assert picture.size == (3 * 64 + 2 * 4, 2 * 48 + 4)
        levels = [picture.getpixel((50 + 68 * n, 40))[0] for n in range(3)]
    assert levels == pytest.approx([40 + 4 * n for n in (2, 6, 10)], abs=4)


def test_stills_need_no_opencv(
    vidstyle: Vidstyle, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert vidstyle("image", painting, "--style", painting, "--size", "32", *TINY).status == 0


def test_info(vidstyle: Vidstyle) -> None:
    facts = json.loads(vidstyle("info", "--json").out)
    assert facts["features"] == list(FEATURES) and facts["torch"] == torch.__version__
    assert "libx264" in facts["encoders"] and isinstance(facts["cuda_devices"], list)
    text = vidstyle("info").out
    assert [line.split("  ")[0].replace(" ", "_") for line in text.splitlines()] == list(facts)


def test_info_names_what_opencv_lacks(vidstyle: Vidstyle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "OpenCV cannot be loaded" in json.loads(vidstyle("info", "--json").out)["opencv"]


# What is said while it works


def started(frames: int | None, width: int = 640) -> Started:
    info = ClipInfo(
        Path("clip.mp4"), width, 360, Fraction(25), Fraction(1, 25), frames, None, 0,
        ColourTags(1, 1, 1, False), "h264", "yuv420p", 8, 0,
    )  # fmt: skip
    return Started(info, Compute(torch.device("cpu"), "fp32"), frames)


def lines_of(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    frames: int | None,
    done: int,
    each: float,
    *,
    quiet: bool = False,
    passes: int = 1,
) -> list[str]:
    """What a render prints whose first frame takes 5 s and whose others take `each`."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with progress.ClipProgress(quiet, False, StyleSettings(steps=4, passes=passes)) as bar:
        bar(started(frames))
        for index in range(done):
            now[0] = 5 + index * each
            bar(FrameDone(index, int(index >= 30), now[0], (index + 1) / passes))
        bar(Warned("sound was left out"))
    return capsys.readouterr().err.splitlines()


def test_lines_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lines_of(capsys, monkeypatch, 48, 48, 1.0) == [
        "clip.mp4: 640x360, 48 frames at 25 a second, on cpu in fp32",
        "shot 1, frame 6/48, 1.00 frames/s, 42.0 s left",
        "shot 1, frame 16/48, 1.00 frames/s, 32.0 s left",
        "shot 1, frame 26/48, 1.00 frames/s, 22.0 s left",
        "shot 2, frame 36/48, 1.00 frames/s, 12.0 s left",
        "shot 2, frame 46/48, 1.00 frames/s, 2.0 s left",
        "warning: sound was left out",
    ]


def test_a_frame_is_done_when_it_has_been_through_all_passes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lines_of(capsys, monkeypatch, 24, 48, 1.0, passes=2)[1:4] == [
        "shot 1, frame 3/24, 0.50 frames/s, 42.0 s left",
        "shot 1, frame 8/24, 0.50 frames/s, 32.0 s left",
        "shot 1, frame 13/24, 0.50 frames/s, 22.0 s left",
    ]


def test_lines_where_the_length_is_not_known(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_of(capsys, monkeypatch, None, 10, 5.0)
    assert lines[0].split(", ")[1] == "frames not counted at 25 a second"
    assert lines[1:3] == ["shot 1, frame 2, 0.20 frames/s", "shot 1, frame 4, 0.20 frames/s"]


def test_a_first_frame_alone_has_no_rate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    assert lines_of(capsys, monkeypatch, 48, 1, 1.0)[1] == "shot 1, frame 1/48"


def test_a_long_render_says_so_once_with_what_is_cheaper(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [x for x in lines_of(capsys, monkeypatch, 3605, 9, 2.0) if "cheaper" in x]
    assert said == [
        "about 2 h 00 min to go; cheaper: --size 320, --steps 2, --duration 5 for a part, "
        "a machine with a GPU, or vidstyle preview for stills only"
    ]
    assert not [x for x in lines_of(capsys, monkeypatch, 100, 9, 2.0) if "cheaper" in x]
    slow = [x for x in lines_of(capsys, monkeypatch, 100, 2, 70.0) if "cheaper" in x]
    assert slow and slow[0].startswith("about 1 h 54 min to go")


def test_quiet_leaves_only_warnings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = lines_of(capsys, monkeypatch, 3605, 9, 2.0, quiet=True)
    assert lines == ["warning: sound was left out"]


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.84, "; steady: 0.8 x the source's own flicker, before encoding"),
        (2.0, "; slight flicker: 2.0 x the source's own, before encoding"),
        (
            18.0,
            "; flickers: 18.0 x the source's own, before encoding; try a higher --temporal-weight "
            "or --steps",
        ),
        (None, ""),
    ],
)
def test_the_closing_line(
    capsys: pytest.CaptureFixture[str], ratio: float | None, words: str
) -> None:
    with progress.ClipProgress(False, False, StyleSettings(steps=4)) as bar:
        pass
    bar.close_with(replace(REPORT, warp_error_ratio=ratio))
    line = capsys.readouterr().err
    assert line == f"out.mp4: 64x48, 48 frames in 2 shots, 24.0 s (2.00 frames/s){words}\n"


def test_the_verdict_names_a_drift() -> None:
    assert progress.drift_warning(-16.3) == "; drifts by -16 levels"
    assert progress.drift_warning(2.0) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (59.99, "1 min 00 s"), (245, "4 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert progress.duration(seconds) == text


# What only a process of its own shows


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_bar_on_a_terminal_without_colour(clip: Path, painting: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}
    line = ["run", clip, "--style", painting, "-o", tmp_path / "a.mp4", *QUICK]
    process = subprocess.Popen(
        [sys.executable, "-m", "vidstyle", *map(str, line)],
        stderr=theirs, stdout=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # Linux's end of a pseudo terminal
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    text = seen.decode()
    assert process.wait() == 0, text
    assert "loading" in text and "━" in text and "frame " in text
    assert not COLOUR.search(text)
    assert "clip.mp4: 64x48, 5 frames" in text and "a.mp4: 64x48, 5 frames in 1 shot" in text


def _hear_signals() -> None:
    """Background jobs are started deaf to Ctrl-C, under nohup to SIGHUP; children inherit that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
def test_signals_leave_finished_work_only(painting: Path, tmp_path: Path) -> None:
    source = make_clip(tmp_path / "long.mp4", 100)
    asked = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
    running = {}
    for number in asked:
        folder = tmp_path / number.name
        folder.mkdir()
        line = ["run", source, "--style", painting, "-o", folder / "a.mkv", *SLOW]
        running[number] = subprocess.Popen(
            [sys.executable, "-m", "vidstyle", *map(str, line)],
            stderr=subprocess.PIPE, text=True, cwd=folder, preexec_fn=_hear_signals,
        )  # fmt: skip
    for number, process in running.items():
        folder = tmp_path / number.name
        waited = time.monotonic() + 60
        while not list(folder.glob(".a.partial*")) and time.monotonic() < waited:
            time.sleep(0.05)
        assert process.poll() is None
        process.send_signal(number)
    for number, process in running.items():
        _, said = process.communicate(timeout=60)
        assert process.returncode == asked[number], said
        assert "no unfinished file is left" in said.splitlines()[-1]
        assert "Traceback" not in said
        assert list((tmp_path / number.name).glob(".a.partial*")) == []
        assert list((tmp_path / number.name).glob("*/[0-9]*.partial")) == []


def test_a_closed_pipe_is_no_noise() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "vidstyle", "--version"],
        stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


DEAF = """
import os, time, vidstyle.cli as cli

def swallow():
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except BaseException:
            pass

def call_a_library():
    os.system("echo ready; sleep 20 >/dev/null 2>&1")  # meanwhile Python calls no handler

cli.PATIENCE = 0.2
cli.build_command = lambda: lambda **options: {what}()
cli.main()
"""


LOSSY = """
import importlib.abc, sys, time, vidstyle.cli as cli

def wait(seconds=60):
    print("ready", flush=True)
    for _ in range(seconds * 100):
        time.sleep(0.01)

class Destructor:
    def __del__(self):
        wait()  # what is raised here goes no further

def bare_except():
    try:
        wait()
    except:
        pass

def late_import():
    class Slow(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            try:
                wait(1)
            except BaseException as error:
                print(f"{{error!r}} in the middle of an import", file=sys.stderr)

    sys.meta_path.insert(0, Slow())
    try:
        import nowhere
    except ImportError:
        pass

def lossy(**options):
    {what}()
    while True:
        time.sleep(0.01)

cli.build_command = lambda: lossy
cli.main()
"""


EARLY = """
import signal, sys, importlib.abc

class CtrlC(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == sys.argv[-1]:
            try:
                signal.raise_signal(signal.SIGINT)
            except BaseException:
                pass  # lost, as in a callback of the import system

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, CtrlC())
from vidstyle.__main__ import start
start()
"""


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("vidstyle.cli", "interrupted\n"),
        ("vidstyle.render", "interrupted; no unfinished file is left\n"),
    ],
)
def test_ctrl_c_while_modules_load_ends_at_once(module: str, said: str) -> None:
    done = python("-c", EARLY, "run", "a.mp4", "-q", "--style", module)
    assert (done.returncode, done.stderr) == (130, said)


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize("what", ["Destructor", "bare_except", "late_import"])
def test_a_signal_that_is_lost_is_raised_again(what: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LOSSY.format(what=what)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_signals,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=15)
    assert (process.returncode, said) == (143, "terminated; no unfinished file is left\n")


@pytest.mark.skipif(sys.platform == "win32", reason="other signals there")
@pytest.mark.parametrize(
    ("what", "word"), [("swallow", "terminated"), ("call_a_library", "terminated by force;")]
)
def test_a_signal_ends_even_what_is_deaf_to_it(what: str, word: str) -> None:
    line = [sys.executable, "-c", DEAF.format(what=what)]
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_signals
    )
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):  # the second changes nothing
        process.send_signal(signal.SIGTERM)
    assert process.stderr.readline().startswith(word)
    assert process.wait(timeout=15) == 143
    process.stdout.close()
    process.stderr.close()


LATE = """
import atexit, os, sys
from vidstyle import __main__, cli

class Late:
    def __del__(self, write=os.write):
        write(1, b" taken apart")

kept = Late()

def main():
    atexit.register(os.write, 1, b"tidied")
    sys.exit(int(sys.argv[1]))

cli.main = main
__main__.start()
"""


@pytest.mark.parametrize(("status", "out"), [(130, "tidied"), (0, "tidied taken apart")])
def test_a_stopped_command_is_not_taken_apart(status: int, out: str) -> None:
    """All is tidied up by then, and freeing torch took ten seconds of a busy machine's time."""
    line = [sys.executable, "-c", LATE, str(status)]
    ended = subprocess.run(line, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, out, "")
