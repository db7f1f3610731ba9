"""A brush: curved bristle strokes laid along a direction field, then lit like thick paint.

A stroke is a bundle of hairs that follow the field side by side. Each hair has its own tone,
starts and lifts off at its own place and runs dry towards the end; its thickness is kept in a
fourth channel, from which `light` shades the finished picture.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array, fbm, mix, rgb

SCALE = 2  # painted this much larger than the picture, then averaged
STEP = 4.0  # px of the picture between two points of a stroke
SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 px
HAIR_SPACING = 1.0  # px between neighbouring hairs
VARNISH = rgb(255, 249, 235)  # what an old picture lets through
SHORTEST = 3  # points: anything less is a dot
PIECES = 3  # a hair changes its tone this often along its way


@dataclass(frozen=True)
class Region:
    """One thing to paint: where it is, which way its strokes run, and its colours.

    `mask` (h, w) bool, `stream` (h, w) float32: strokes follow its level lines,
    `target` (h, w, 3) float32 RGB in [0, 1].
    """

    mask: Array
    stream: Array
    target: Array


@dataclass(frozen=True)
class Pass:
    """One going-over with one brush; lengths in px of the picture."""

    width: tuple[float, float]
    length: tuple[float, float]
    coverage: float  # how often, on average, a spot is painted
    jitter: float = 0.08  # deviation of a stroke's tone, as a share of the full range
    stray: float = 4.0  # px: how far from its place a stroke takes its colour
    gain: float = 1.0  # brightness of the colours laid: under 1 for the underpainting
    dry: float = 0.25  # share of hairs that break off early


@dataclass(frozen=True)
class Stroke:
    """`path` (n, 2) px in the picture; `colour` (3,) RGB in [0, 1]; `width` px; its own `seed`."""

    path: Array
    colour: Array
    width: float
    seed: int


def canvas(size: tuple[int, int], ground: Array) -> Array:
    """An empty canvas of a ground colour, (h, w, 4) uint8 at brush scale: RGB and thickness."""
    h, w = size[0] * SCALE, size[1] * SCALE
    return np.dstack([np.full((h, w, 3), ground * 255), np.full((h, w), 60)]).astype(np.uint8)


def wash(rng: np.random.Generator, wet: Array, region: Region) -> None:
    """Stain a region thinly with its own colours before any stroke: no bare holes later."""
    h, w = region.mask.shape
    strength = 0.62 + 0.08 * fbm(rng, (h, w), (30, 30), octaves=3)
    stain = np.clip(region.target * 0.7 * 255, 0, 255)
    here = cv2.resize(region.mask.astype(np.float32), wet.shape[1::-1]) * cv2.resize(
        strength, wet.shape[1::-1]
    )
    large = cv2.resize(stain, wet.shape[1::-1])
    wet[..., :3] = np.clip(mix(wet[..., :3].astype(np.float32), large, here.clip(0, 1)), 0, 255)


def paint(rng: np.random.Generator, wet: Array, region: Region, going: Pass) -> None:
    """Lay one pass of strokes over a region, changing `wet` in place."""
    for stroke in plan(rng, region, going):
        lay(wet, stroke, going.dry)


def plan(rng: np.random.Generator, region: Region, going: Pass) -> list[Stroke]:
    """Where the strokes of one pass go, in painting order.

    Candidates cover the whole canvas and those outside the region are dropped afterwards: a
    rounding that moves one pixel of a mask then moves one stroke, not every later one.
    """
    h, w = region.mask.shape
    count = int(going.coverage * h * w / (np.mean(going.width) * np.mean(going.length)))
    starts = rng.uniform(0, (w - 1, h - 1), (count, 2)).astype(np.float32)
    length, width = rng.uniform(*going.length, count), rng.uniform(*going.width, count)
    sense, seeds = rng.choice([-1.0, 1.0], count), rng.integers(2**32, size=count)
    colours = pick(rng, region, starts, going)
    x, y = starts.round().astype(int).T
    kept = np.nonzero(region.mask[y, x])[0]
    paths = trace(region, starts[kept], sense[kept], length[kept])
    every = zip(paths, colours[kept], width[kept], seeds[kept], strict=True)
    return [Stroke(*one) for one in every if len(one[0]) > SHORTEST]


def directions(stream: Array) -> Array:
    """Unit vectors along the level lines of `stream`, (h, w, 2) float32."""
    smooth = cv2.GaussianBlur(stream.astype(np.float32), (0, 0), 2.0)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    along = np.stack([-down, across], -1)
    return along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)


def trace(region: Region, starts: Array, sense: Array, length: Array) -> list[Array]:
    """Follow the field both ways from each start until the length or the region ends."""
    field = directions(region.stream)
    back = walk(field, region.mask, starts, -sense, length / 2)
    ahead = walk(field, region.mask, starts, sense, length / 2)
    return [np.concatenate([b[:0:-1], a]) for b, a in zip(back, ahead, strict=True)]


def walk(field: Array, mask: Array, starts: Array, sense: Array, length: Array) -> list[Array]:
    """One way along the field from every start at once: a list of (n, 2) paths in px."""
    h, w = mask.shape
    place, alive, points = starts.copy(), np.ones(len(starts), bool), [starts]
    taken = np.ones(len(starts), int)
    for number in range(1, int(length.max() / STEP) + 1):
        x, y = place[:, 0].round().astype(int), place[:, 1].round().astype(int)
        place = place + (STEP * sense[:, None] * field[y.clip(0, h - 1), x.clip(0, w - 1)])
        x, y = place[:, 0].round().astype(int), place[:, 1].round().astype(int)
        outside = (x < -9) | (y < -9) | (x > w + 8) | (y > h + 8)
        alive &= ~outside & (number * STEP <= length)
        alive &= mask[y.clip(0, h - 1), x.clip(0, w - 1)]
        taken[alive] += 1
        points.append(place)
    track = np.stack(points, 1)
    return [track[i, :n] for i, n in enumerate(taken)]


def pick(rng: np.random.Generator, region: Region, starts: Array, going: Pass) -> Array:
    """A colour for each stroke, (n, 3): the target's near its start, tone and hue shaken."""
    h, w = region.mask.shape
    at = (starts + rng.normal(0, going.stray, starts.shape)).round().astype(int)
    at = np.stack([at[:, 0].clip(0, w - 1), at[:, 1].clip(0, h - 1)], -1)
    at = np.where(region.mask[at[:, 1], at[:, 0]][:, None], at, starts.round().astype(int))
    colour = region.target[at[:, 1], at[:, 0]] * going.gain
    tone = 1 + rng.normal(0, 1.6 * going.jitter, (len(starts), 1))
    hue = rng.normal(0, 0.45 * going.jitter, (len(starts), 3))
    return np.clip(colour * tone + hue, 0.02, 1)


def lay(wet: Array, stroke: Stroke, dry: float) -> None:
    """Draw one stroke's hairs into `wet`, in random order, each in a few pieces."""
    rng = np.random.default_rng(stroke.seed)
    sides = rng.permutation(np.linspace(-1, 1, max(2, round(stroke.width / HAIR_SPACING))))
    fixed = hair_tracks(stroke, sides)
    values = hair_values(rng, stroke, sides, beneath(wet, stroke.path)).tolist()
    weight = max(1, round(HAIR_SPACING * SCALE))
    for track, tones, (first, last) in zip(
        fixed, values, hair_ends(rng, len(sides), fixed.shape[1], dry), strict=True
    ):
        cuts = [first + (last - first) * piece // PIECES for piece in range(PIECES + 1)]
        for tone, start, stop in zip(tones, cuts, cuts[1:], strict=False):
            part = track[start : stop + 1]
            cv2.polylines(wet, [part], False, tone, weight, cv2.LINE_AA, SUBPIXEL_BITS)


def hair_tracks(stroke: Stroke, sides: Array) -> Array:
    """Where every hair runs, (hairs, n, 2) in OpenCV's fixed point at brush scale.

    `sides` (hairs,) is -1 at one edge of the stroke and 1 at the other.
    """
    along = np.linspace(0, 1, len(stroke.path))
    press = np.clip(along / 0.12, 0.35, 1) * np.clip((1 - along) / 0.3, 0.12, 1) ** 0.6
    across = (press * stroke.width / 2)[:, None] * normals(stroke.path)
    tracks = stroke.path + sides[:, None, None] * across
    return np.rint(((tracks + 0.5) * SCALE - 0.5) * 2**SUBPIXEL_BITS).astype(np.int32)


def hair_values(rng: np.random.Generator, stroke: Stroke, sides: Array, under: Array) -> Array:
    """What every piece of every hair leaves, (hairs, PIECES, 4) in 0..255: RGB and thickness.

    Along its way a hair takes up the colour beneath and thins; the edges of a stroke stand up.
    """
    hairs, piece = len(sides), np.arange(PIECES)[:, None]
    tone = stroke.colour * (1 + rng.normal(0, 0.13, (hairs, 1))) + rng.normal(0, 0.018, (hairs, 3))
    colour = tone[:, None] + (under - tone[:, None]) * (0.06 + 0.09 * piece)
    thick = 120 + 55 * np.abs(sides) ** 3 + rng.normal(0, 42, hairs)
    relief = np.clip(thick[:, None, None] - 22 * piece, 20, 255)
    return np.clip(np.concatenate([colour * 255, relief], -1), 0, 255)


def hair_ends(rng: np.random.Generator, hairs: int, count: int, dry: float) -> list[list[int]]:
    """Where each hair of a stroke of `count` points touches down and lifts off."""
    first = (count * rng.uniform(0, 0.12, hairs)).astype(int)
    early = rng.random(hairs) < dry
    share = np.where(early, rng.uniform(0.35, 0.8, hairs), rng.uniform(0.86, 1.0, hairs))
    last = np.ceil(count * share).astype(int) - 1
    return np.stack([first, np.maximum(last, first + 1)], -1).tolist()


def normals(path: Array) -> Array:
    """Unit vectors across a path, (n, 2)."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], -1)
    return across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-6)


def beneath(wet: Array, path: Array) -> Array:
    """The colour of the paint under the middle of a path, (3,) in [0, 1]."""
    x, y = (path[len(path) // 2] * SCALE).astype(int)
    h, w = wet.shape[:2]
    return wet[y.clip(0, h - 1), x.clip(0, w - 1), :3] / 255


def light(rng: np.random.Generator, wet: Array) -> Array:
    """The finished picture, (h, w, 3) uint8: paint relief and canvas weave under side light."""
    small = (wet.shape[1] // SCALE, wet.shape[0] // SCALE)
    flat = cv2.resize(wet, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    relief = cv2.GaussianBlur(flat[..., 3], (0, 0), 0.6) + 0.016 * weave(rng, flat.shape[:2])
    slope = cv2.Sobel(relief, cv2.CV_32F, 1, 0) * 0.5 + cv2.Sobel(relief, cv2.CV_32F, 0, 1) * 0.85
    shade = np.tanh(0.9 * slope)
    shine = 0.16 * np.clip(shade - 0.25, 0, 1)
    picture = flat[..., :3] * (1 + 0.26 * shade[..., None]) + shine[..., None]
    picture = mix(picture, picture.mean(-1, keepdims=True), 0.1) * VARNISH
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def weave(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """The relief of woven linen, (h, w), about -1 to 1: threads of uneven strength."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    bend = 2.5 * fbm(rng, shape, (12, 12), octaves=3)
    warp, weft = np.sin(2 * np.pi * x / 3.7 + bend), np.sin(2 * np.pi * y / 3.3 - bend)
    return 0.5 * (warp + weft) * (1 + 0.4 * fbm(rng, shape, (40, 40), octaves=2))
