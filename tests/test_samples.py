"""The sample clip's promised motion is its real motion; the committed files are the made ones."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PAIRS = [(10, 9), (10, 11), (46, 47), (30, 20)]
# The samples of a flow's truth are pictures in 8 bits, resampled once: 2 levels are 0.8 %.
FAITHFUL_LEVELS = 2.0
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", SAMPLES / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


@pytest.fixture(scope="module")
def clip(sample):
    return sample


@pytest.fixture(scope="module")
def decoded():
    with av.open(str(SAMPLES / "clip.mp4")) as file:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24", interpolation=EXACT))
            for frame in file.decode(video=0)
        ]


def sampled(image, flow):
    """`image` (h, w, …) read at every pixel + flow, with bicubic interpolation."""
    h, w = flow.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return cv2.remap(image.astype(np.float32), x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC)


def solid(clip, t):
    """Pixels of frame `t` well inside one sheet: no mixed edges within a pixel, (h, w) uint8."""
    return cv2.erode((clip.coverage(t).max(0) > 0.98).astype(np.uint8), np.ones((3, 3)))


@pytest.fixture(scope="module", params=PAIRS)
def warp_error(request, clip):
    """Mean error in levels of frame `s` brought back to `t` by the true flow, as it is changed."""
    t, s = request.param
    flow = clip.flow(t, s)
    there = sampled(solid(clip, s), flow) > 0.99
    trusted = ~clip.occluded(t, s) & (solid(clip, t) > 0) & there
    assert trusted.mean() > 0.6

    def measured(change=lambda flow: flow):
        error = np.abs(sampled(clip.frames[s], change(flow)) - clip.frames[t])
        return error[trusted].mean()

    return measured


def test_true_flow_brings_one_frame_onto_another(warp_error):
    assert warp_error() < FAITHFUL_LEVELS


@pytest.mark.parametrize(
    "change",
    [lambda f: -f, lambda f: 0 * f, lambda f: f + np.float32(0.5), lambda f: f[..., ::-1]],
    ids=["wrong sign", "no motion", "half a pixel off", "x and y swapped"],
)
def test_a_wrong_flow_is_found_out(warp_error, change):
    assert warp_error(change) > 1.5 * warp_error()


def test_flow_there_and_back_cancels(clip):
    there, back = clip.flow(20, 26), clip.flow(26, 20)
    label_there = sampled(clip.label(26) + 1.0, there) - 1
    same = ~clip.occluded(20, 26) & (np.abs(label_there - clip.label(20)) < 1e-3)
    assert same.mean() > 0.6
    assert np.abs(there + sampled(back, there))[same].max() < 0.05  # px


def test_flow_to_itself_is_nothing_and_hides_nothing(clip):
    assert np.abs(clip.flow(7, 7)).max() < 1e-6
    assert clip.occluded(7, 7).mean() < 1e-3


def names(clip, t):
    """The name of the sheet in each pixel of frame `t`, (h, w)."""
    return np.array([sheet.name for sheet in clip.sheets])[clip.label(t)]


def test_the_boat_sails_through_the_picture(clip):
    middles = [np.nonzero(names(clip, t) == "boat")[1].mean() for t in range(len(clip.frames))]
    assert middles[-1] - middles[0] > 40  # px
    on_boat = names(clip, 5) == "boat"
    assert clip.flow(5, 6)[on_boat, 0].mean() > 1.5
    assert np.abs(clip.flow(5, 6)[names(clip, 5) == "sky"]).max() < 0.2


def test_the_boat_rolls(clip):
    on_boat = np.nonzero(names(clip, 3) == "boat")
    flow = clip.flow(3, 6)[on_boat]
    top, bottom = on_boat[0] < 90, on_boat[0] > 125
    assert abs(flow[top, 0].mean() - flow[bottom, 0].mean()) > 1  # px


def test_the_camera_starts_slowly(clip):
    pier = names(clip, 0) == "pier"
    start = np.abs(clip.flow(0, 1)[pier, 0]).mean()
    end = np.abs(clip.flow(46, 47)[names(clip, 46) == "pier", 0]).mean()
    assert 0 < start < 0.2 < 1 < end < 3


def test_what_the_boat_uncovers_was_hidden(clip):
    # Water now where the boat stood before: the boat's wake cannot be seen in the frame before.
    uncovered = (names(clip, 8) == "boat") & (names(clip, 12) == "water")
    uncovered &= sampled(names(clip, 8) == "boat", clip.flow(12, 8)) > 0.99
    assert uncovered.sum() > 40
    assert clip.occluded(12, 8)[uncovered].all()


def test_the_post_hides_the_boat_in_passing(clip):
    boat = names(clip, 14) == "boat"
    behind_post = sampled(names(clip, 26) == "pier", clip.flow(14, 26)) > 0.99
    assert (boat & behind_post).sum() > 100
    assert clip.occluded(14, 26)[boat & behind_post].all()


def test_what_leaves_the_frame_counts_as_hidden(clip):
    x = np.arange(320) + clip.flow(20, 47)[..., 0]
    assert (x < 0).any()
    assert clip.occluded(20, 47)[x < 0].all()


def test_most_pixels_stay_visible(clip):
    shares = [clip.occluded(t, t - 1).mean() for t in (5, 25, 45)]
    assert all(0.001 < share < 0.05 for share in shares)


def test_committed_clip_has_exact_times_and_size(decoded):
    assert [time for time, _ in decoded] == [Fraction(n, 24) for n in range(48)]
    assert {image.shape for _, image in decoded} == {(180, 320, 3)}


def test_committed_clip_is_tagged_and_sounds():
    with av.open(str(SAMPLES / "clip.mp4")) as file:
        picture, sound = file.streams.video[0], file.streams.audio[0]
        tags = picture.codec_context
        assert (picture.frames, picture.codec_context.pix_fmt) == (48, "yuv420p")
        assert [tags.colorspace, tags.color_primaries, tags.color_trc, tags.color_range] == [1] * 4
        assert float(sound.duration * sound.time_base) == pytest.approx(2, abs=0.03)
        heard = np.concatenate([f.to_ndarray() for f in file.decode(sound)], axis=1)
    assert heard.shape[0] == 2
    assert 0.02 < np.abs(heard).max() <= 1


def test_committed_clip_is_what_the_generator_draws(clip, decoded):
    for drawn, (_, shown) in zip(clip.frames, decoded, strict=True):
        error = np.mean((drawn.astype(float) - shown) ** 2)
        assert 10 * np.log10(255**2 / error) > 34.5  # dB: 4:2:0 alone takes it down to about 36
        assert np.abs((shown - drawn.astype(float)).mean((0, 1))).max() < 1  # level: the matrix


@pytest.mark.slow
def test_committed_painting_is_what_the_generator_paints():
    saved = cv2.imread(str(SAMPLES / "scream.jpg"))[..., ::-1]
    painted = generate.scream()
    assert saved.shape == painted.shape == (960, 768, 3)
    assert np.abs(saved.astype(int) - painted).mean() < 6  # levels: JPEG alone makes 4


def test_painting_has_reds_and_blues_and_brush_work():
    saved = cv2.imread(str(SAMPLES / "scream.jpg")).astype(np.float32)
    blue, red = saved[..., 0].ravel(), saved[..., 2].ravel()
    assert np.mean(red > blue + 60) > 0.25
    assert np.mean(blue > red + 20) > 0.08
    rough = np.abs(saved - cv2.GaussianBlur(saved, (0, 0), 3)).mean()
    assert rough > 8  # levels: a smooth gradient has next to none


def test_files_are_small():
    assert (SAMPLES / "clip.mp4").stat().st_size < 500_000
    assert (SAMPLES / "scream.jpg").stat().st_size < 400_000
