"""The sample clip's motion, its frames and their exact optical flow.

One rule makes the truth exact: a frame is the sheets of scene.py, each moved by one affine
transform, and the same transforms give the flow. Coordinates are pixels with whole numbers at
pixel centres, x to the right, y down, so pixel (0, 0) spans -0.5 to 0.5.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from samples.noise import Array
from samples.scene import HORIZON, TEXELS, Layer, layers

WIDTH, HEIGHT, FRAMES, FPS = 320, 180, 48, 24
SEED = 1893
SUPERSAMPLE = 3  # rendered this much larger, then averaged: edges without stairs
FINE_SHIFT = (SUPERSAMPLE - 1) / 2  # centre of pixel 0 in the supersampled picture
PAN = 44.0  # px the foreground travels in the whole clip
ZOOM = 0.045  # growth of the far layers in the whole clip; near ones grow by NEAR_ZOOM more
NEAR_ZOOM = 0.05
ZOOM_CENTRE = (170.0, HORIZON)  # on the horizon: far and near layers never slip vertically
BOB_FRAMES = 24  # one swell under the boat: a second
ROUNDING = 1e-3  # px beyond the frame that still count as inside
COVERED = 0.5  # a point is hidden once sheets above it cover more than half of its pixel


def shift(x: float, y: float) -> Array:
    """A translation in px, (3, 3)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], float)


def scale(factor: float) -> Array:
    """A scaling about the origin, (3, 3)."""
    return np.diag([factor, factor, 1.0])


def turn(degrees: float) -> Array:
    """A rotation about the origin, clockwise on the screen, (3, 3)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], float)


def travelled(t: float) -> float:
    """The share of the camera's way behind it at frame `t`: starts at rest and gathers speed."""
    return (t / (FRAMES - 1)) ** 1.7


def camera(t: float, near: float) -> Array:
    """Where the camera puts a sheet of this nearness at frame `t`, (3, 3)."""
    growth = 1 + travelled(t) * (ZOOM + NEAR_ZOOM * near)
    x, y = ZOOM_CENTRE
    return shift(-PAN * near * travelled(t), 0) @ shift(x, y) @ scale(growth) @ shift(-x, -y)


def water_pose(t: float) -> Array:
    """A plane seen sideways shears under a pan: still at the horizon, full speed at our feet."""
    far, near = 0.25, 0.95
    slope = -PAN * (near - far) * travelled(t) / (HEIGHT - HORIZON)
    shear = np.array([[1, slope, -slope * HORIZON], [0, 1, 0], [0, 0, 1]], float)
    return shear @ camera(t, far)


def boat_pose(t: float) -> Array:
    """Sailing right, heaving and rolling on the swell, behind the middle post on its way."""
    swell = 2 * np.pi * t / BOB_FRAMES
    place = shift(112 + 2.1 * t, 128 + 1.5 * np.sin(swell))
    return camera(t, 0.5) @ place @ turn(4.0 * np.sin(swell - 0.9)) @ scale(1.0 + 0.0015 * t)


def balloon_pose(t: float) -> Array:
    """Rising from behind the headland, swinging slowly."""
    return camera(t, 0.15) @ shift(66 + 0.35 * t, 62 - 0.62 * t) @ turn(5.0 * np.sin(t / 11))


OWN_POSES = {"water": water_pose, "boat": boat_pose, "balloon": balloon_pose}


def pose(layer: Layer, t: float) -> Array:
    """Sheet coordinates to frame `t`'s pixels, (3, 3)."""
    own = OWN_POSES.get(layer.name)
    return own(t) if own else camera(t, layer.near)


def from_texels(layer: Layer) -> Array:
    """Texel indices to sheet coordinates in px, (3, 3)."""
    middle = 0.5 / TEXELS - 0.5
    return shift(layer.corner[0] + middle, layer.corner[1] + middle) @ scale(1 / TEXELS)


def to_fine() -> Array:
    """Frame pixels to pixels of the supersampled picture, (3, 3)."""
    return shift(FINE_SHIFT, FINE_SHIFT) @ scale(SUPERSAMPLE)


@dataclass
class SampleClip:
    """The clip with its truth: 48 frames of 320×180 and where every pixel goes.

    `frames` is what was drawn before encoding, 48 times (180, 320, 3) uint8 RGB. The flow of
    `t` to `s` says that what frame t shows at p is at p + flow in frame s.
    """

    sheets: list[Layer]
    frames: list[Array] = field(default_factory=list)
    _clear: list[Array] = field(default_factory=list, repr=False)

    def flow(self, t: int, s: int) -> Array:
        """Exact motion of frame `t`'s pixels to frame `s`, (180, 320, 2) float32 px, x first."""
        label, moved = self.label(t), np.zeros((HEIGHT, WIDTH, 2), np.float32)
        for index in np.unique(label):
            here = label == index
            moved[here] = self._motion(int(index), t, s)[here]
        return moved

    def occluded(self, t: int, s: int) -> Array:
        """Pixels of `t` whose surface point is covered in `s` or outside it, (180, 320) bool."""
        label, flow = self.label(t), self.flow(t, s)
        x, y = flow[..., 0] + np.arange(WIDTH), flow[..., 1] + np.arange(HEIGHT)[:, None]
        inner_x, inner_y = np.float32(x.clip(0, WIDTH - 1)), np.float32(y.clip(0, HEIGHT - 1))
        outside = np.maximum(np.abs(x - inner_x), np.abs(y - inner_y)) > ROUNDING
        clear = np.zeros((HEIGHT, WIDTH), np.float32)
        for index in np.unique(label):
            seen = cv2.remap(self._clear[s][index], inner_x, inner_y, cv2.INTER_LINEAR)
            clear[label == index] = seen[label == index]
        return outside | (clear < 1 - COVERED)

    def label(self, t: int) -> Array:
        """Which sheet fills most of each pixel of frame `t`: (180, 320) indices into `sheets`."""
        return self.coverage(t).argmax(0)

    def coverage(self, t: int) -> Array:
        """Each sheet's visible share of each pixel of frame `t`, (sheets, 180, 320) in [0, 1]."""
        return np.diff(self._clear[t], axis=0, prepend=0)

    def _motion(self, index: int, t: int, s: int) -> Array:
        """Motion of one sheet's points from `t` to `s` at every pixel, (180, 320, 2) px."""
        layer = self.sheets[index]
        change = pose(layer, s) @ np.linalg.inv(pose(layer, t)) - np.eye(3)
        x, y = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
        here = np.stack([x, y, np.ones_like(x)], -1)
        return (here @ change.T)[..., :2].astype(np.float32)


def compose(sheets: list[Layer], t: int) -> tuple[Array, Array]:
    """Frame `t` as (180, 320, 3) uint8, and for each sheet the share of light that gets past
    everything above it, (sheets, 180, 320) float32 in [0, 1]."""
    fine = (WIDTH * SUPERSAMPLE, HEIGHT * SUPERSAMPLE)
    colour, clear = np.zeros((*fine[::-1], 3), np.float32), np.ones(fine[::-1], np.float32)
    above = []
    for layer in reversed(sheets):
        above.append(shrink(clear))
        place = (to_fine() @ pose(layer, t) @ from_texels(layer))[:2]
        seen = cv2.warpAffine(layer.texture, place, fine, flags=cv2.INTER_LINEAR)
        colour += clear[..., None] * seen[..., :3]
        clear = clear * (1 - seen[..., 3])
    return np.rint(shrink(colour) * 255).astype(np.uint8), np.stack(above[::-1])


def shrink(fine: Array) -> Array:
    """The supersampled picture averaged down to (180, 320, …)."""
    return cv2.resize(fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def compositions(sheets: list[Layer]) -> Iterator[tuple[Array, Array]]:
    """Every frame with its shares of light, in order."""
    return (compose(sheets, t) for t in range(FRAMES))


def sample_clip(seed: int = SEED) -> SampleClip:
    """The whole clip with its truth; about ten seconds on one core."""
    sheets = layers(seed)
    frames, clear = zip(*compositions(sheets), strict=True)
    return SampleClip(sheets, list(frames), list(clear))
