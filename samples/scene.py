"""The painted cardboard of the sample clip: a fjord at sunset as flat layers, back to front.

Every layer is one RGBA texture drawn once, `TEXELS` texels to a pixel of the clip, so that a
frame is nothing but these sheets moved by known transforms (clip.py). Nothing shimmers by
itself: waves and clouds travel with their sheet, which keeps the motion exactly known.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from samples.noise import Array, fbm, mix, ramp, rgb, smoothstep

TEXELS = 3  # per pixel of the clip, along each axis
HORIZON = 98.0  # px from the top
SUN = (222.0, 69.0)  # px, (x, y)
LEFT, TOP, RIGHT, BOTTOM = -44.0, -34.0, 384.0, 214.0  # px: the sheets reach beyond the frame

SKY_COLOURS = [
    (-34.0, (38, 52, 104)),
    (14.0, (74, 78, 132)),
    (42.0, (150, 106, 138)),
    (64.0, (222, 128, 110)),
    (82.0, (250, 172, 100)),
    (98.0, (255, 212, 140)),
]
WATER_COLOURS = [
    (98.0, (214, 150, 118)),
    (110.0, (160, 112, 122)),
    (132.0, (82, 84, 120)),
    (170.0, (36, 56, 90)),
    (214.0, (20, 38, 66)),
]


@dataclass(frozen=True)
class Layer:
    """One sheet: `texture` (h, w, 4) premultiplied RGBA in [0, 1], its corner in px, its depth.

    `near` is 0 for infinitely far and 1 for the foreground: how much the camera moves it.
    """

    name: str
    texture: Array
    corner: tuple[float, float]
    near: float


def grid(left: float, top: float, right: float, bottom: float) -> tuple[Array, Array]:
    """Coordinates in px of every texel centre of a sheet: x and y, each (h, w) float32."""
    xs = np.arange(left, right, 1 / TEXELS, dtype=np.float32) + 0.5 / TEXELS - 0.5
    ys = np.arange(top, bottom, 1 / TEXELS, dtype=np.float32) + 0.5 / TEXELS - 0.5
    x, y = np.meshgrid(xs, ys)
    return x, y


def sheet(
    name: str, colour: Array, alpha: Array, corner: tuple[float, float], near: float
) -> Layer:
    """A layer from straight colour (h, w, 3) and coverage (h, w), both brought into [0, 1]."""
    a = np.clip(alpha, 0, 1).astype(np.float32)[..., None]
    return Layer(name, np.concatenate([np.clip(colour, 0, 1) * a, a], -1), corner, near)


def edge(distance: Array) -> Array:
    """Coverage from a signed distance in px (positive inside): antialiased over one texel."""
    return np.clip(distance * TEXELS + 0.5, 0, 1).astype(np.float32)


def lit(height: Array, strength: float) -> Array:
    """How much a relief (h, w) faces the low sun: about -1 (away) to 1, (h, w) float32."""
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    return np.tanh(strength * (0.8 * across + 0.6 * down))


def sky(rng: np.random.Generator) -> Layer:
    """Clouds lit from below over a sunset gradient; they flatten towards the horizon."""
    x, y = grid(LEFT, TOP, RIGHT, BOTTOM)
    glow = np.exp(-np.hypot((x - SUN[0]) / 1.7, y - SUN[1]) / 26)
    colour = mix(ramp(y, SKY_COLOURS), rgb(255, 226, 150), 0.85 * glow)
    colour = mix(colour, rgb(255, 250, 224), edge(6.5 - np.hypot(x - SUN[0], y - SUN[1])))
    cloud = perspective_clouds(rng, x, y)
    cover = smoothstep(-0.6, 1.2, cloud)
    shade = smoothstep(-0.7, 0.7, lit(cv2.GaussianBlur(cloud, (0, 0), 2.5), 14.0))
    low = smoothstep(10, 92, y)
    bright = mix(np.full_like(colour, rgb(226, 150, 152)), rgb(255, 196, 122), low)
    dark = mix(np.full_like(colour, rgb(70, 66, 110)), rgb(196, 96, 96), low)
    return sheet(
        "sky",
        mix(colour, mix(dark, bright, shade), 0.86 * cover),
        np.ones_like(x),
        (LEFT, TOP),
        0.06,
    )


def perspective_clouds(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """Cloud thickness (h, w), about -2 to 2: a noise ceiling seen in perspective."""
    plane = fbm(rng, (1400, 1400), (7, 7), octaves=7, gain=0.56)
    away = 1 / (np.maximum(HORIZON - y, 0) + 46)
    u = 700 + (x - 190) * away * 210 + 0.35 * (x - 190)
    v = away * 52000 + 60 * np.sin(x / 57)
    seen = cv2.remap(
        plane, np.float32(u), np.float32(v), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    fine = fbm(rng, x.shape, (26, 20), octaves=4, gain=0.6)
    return seen + 0.22 * fine


def ridge(rng: np.random.Generator, x: Array, base: float, rise: float, knots: float) -> Array:
    """A skyline: px from the top for every texel column, spread to (h, w)."""
    line = fbm(rng, (1, x.shape[1]), (1, knots), octaves=6, gain=0.48)
    return base - rise * line + np.zeros_like(x)


def mountains(rng: np.random.Generator) -> Layer:
    """Hazy far mountains: a noise relief lit from the sun's side, snow on the tops."""
    x, y = grid(LEFT, TOP, RIGHT, HORIZON + 8)
    valley = 12 * np.exp(-(((x - SUN[0]) / 50) ** 2))
    top = ridge(rng, x, 68.0, 6.5, 5) + valley
    relief = fbm(rng, x.shape, (7, 16), octaves=6, gain=0.6)
    light = lit(cv2.GaussianBlur(relief, (0, 0), 1.6), 16.0)
    snow = smoothstep(0.1, 0.9, relief - (y - top) / 9 + 0.6)
    rock = mix(np.full((*x.shape, 3), rgb(84, 76, 118)), rgb(206, 170, 182), 0.75 * snow)
    colour = rock * (1 + 0.4 * light[..., None]) + np.clip(light, 0, 1)[..., None] * rgb(70, 26, 4)
    haze = 0.25 + 0.5 * smoothstep(62, HORIZON, y)
    return sheet(
        "mountains", mix(colour, rgb(236, 158, 124), haze), edge(y - top), (LEFT, TOP), 0.12
    )


def headland(rng: np.random.Generator) -> Layer:
    """A wooded slope coming down from the left: fir crowns, each catching the light."""
    x, y = grid(LEFT, TOP, RIGHT, HORIZON + 14)
    firs = 2.2 * np.abs(fbm(rng, (1, x.shape[1]), (1, 110), octaves=2)) + np.zeros_like(x)
    top = ridge(rng, x, 66.0, 3.0, 5) + 0.00125 * np.maximum(x + 30, 0) ** 2 - firs
    crowns = fbm(rng, x.shape, (26, 64), octaves=4, gain=0.62)
    light = lit(cv2.GaussianBlur(crowns, (0, 0), 1.4), 9.0)
    rim = np.exp(-np.maximum(y - top, 0) / 2.2)
    colour = mix(np.full((*x.shape, 3), rgb(30, 44, 52)), rgb(96, 92, 66), 0.5 + 0.5 * light)
    colour = mix(colour, rgb(226, 146, 86), 0.4 * rim * (0.6 + 0.4 * light))
    meadow = smoothstep(0.3, 1.2, fbm(rng, x.shape, (5, 12), octaves=3)) * smoothstep(70, 90, y)
    colour = mix(colour, rgb(150, 122, 62), 0.55 * meadow)
    return sheet("headland", mix(colour, rgb(190, 120, 110), 0.13), edge(y - top), (LEFT, TOP), 0.3)


def water(rng: np.random.Generator) -> Layer:
    """The fjord: noise waves in perspective, the sky's colours in them, a path of sunlight."""
    x, y = grid(LEFT, TOP, RIGHT, BOTTOM)
    below = np.maximum(y - HORIZON, 0)
    wave = perspective_waves(rng, x, below)
    amplitude = 0.35 + 0.65 * smoothstep(0, 30, below)
    colour = ramp(y - 17 * amplitude * wave * smoothstep(0, 40, below), WATER_COLOURS)
    colour = colour * (1 + 0.26 * (amplitude * wave)[..., None])
    width = 9 + 0.42 * below
    path = np.exp(-(((x - SUN[0] - 0.05 * below) / width) ** 2))
    glitter = smoothstep(0.1, 1.2, wave + 1.25 * path - 0.65)
    colour = mix(colour, rgb(255, 206, 128), np.clip(path, 0, 1) * (0.3 + 0.7 * glitter))
    shore = np.exp(-below / 3.5) * smoothstep(176, 120, x)
    colour = mix(colour, rgb(52, 56, 66), 0.75 * shore)
    return sheet("water", colour, edge(y - HORIZON), (LEFT, TOP), 1.0)


def perspective_waves(rng: np.random.Generator, x: Array, below: Array) -> Array:
    """Wave height (h, w), about -2 to 2, finer towards the horizon (`below` is px under it)."""
    plane = fbm(rng, (1600, 2000), (62, 30), octaves=5, gain=0.55)
    away = 1 / (below + 26)
    u = 1000 + (x - 170) * away * 210
    v = away * 28000 + 50
    seen = cv2.remap(
        plane, np.float32(u), np.float32(v), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    flat = fbm(rng, x.shape, (70, 14), octaves=4, gain=0.6)
    return 0.75 * seen + 0.5 * flat


def balloon(rng: np.random.Generator) -> Layer:
    """A striped hot-air balloon, about 34 px tall, in its own coordinates around its middle."""
    x, y = grid(-18, -22, 18, 26)
    taper = np.where(y > 0, 1 - 0.38 * smoothstep(0, 19, y), 1.0)
    across = x / (15 * taper)
    body = np.minimum(1 - np.hypot(across, np.minimum(y, 0) / 17), (17 - y) / 15) * 15
    gore = np.floor((np.arcsin(np.clip(across, -0.999, 0.999)) / np.pi + 0.5) * 8) % 2
    colour = mix(np.full((*x.shape, 3), rgb(206, 58, 44)), rgb(246, 212, 150), gore)
    band = edge(3.2 - np.abs(y + 1.5 - 1.5 * across**2))
    colour = mix(colour, rgb(40, 92, 122), 0.9 * band)
    colour = colour * (0.72 + 0.34 * across + 0.012 * y)[..., None]
    colour = colour * (1 + 0.07 * fbm(rng, x.shape, (14, 12), octaves=3))[..., None]
    ropes = edge(0.45 - np.abs(np.abs(x) - (4.2 - 0.12 * (y - 17)))) * (y > 16) * (y < 21)
    basket = edge(np.minimum(3.2 - np.abs(x), 2.4 - np.abs(y - 22.5)))
    wicker = np.sin(5 * x) * np.sin(5 * y) > 0
    colour = mix(
        colour, mix(np.full_like(colour, rgb(96, 60, 36)), rgb(150, 100, 60), wicker), y > 16.9
    )
    alpha = np.maximum(np.maximum(edge(body) * (y < 17.5), ropes), basket)
    return sheet("balloon", colour, alpha, (-18, -22), 0.15)


def boat(rng: np.random.Generator) -> Layer:
    """A small sailing boat, about 62 px tall, in its own coordinates: the waterline is y = 0."""
    x, y = grid(-36, -64, 36, 30)
    colour, alpha = np.zeros((*x.shape, 3), np.float32), np.zeros_like(x)
    for part, cover in (reflection(rng, x, y), *sails(rng, x, y), hull(rng, x, y)):
        colour, alpha = mix(colour, part, cover), np.maximum(alpha, cover)
    return sheet("boat", colour, alpha, (-36, -64), 0.5)


def inside(x: Array, y: Array, corners: list[tuple[float, float]]) -> Array:
    """Coverage (h, w) of a convex polygon, corners in px, clockwise as seen on the screen."""
    distance = np.full(x.shape, 1e3, np.float32)
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(bx - ax, by - ay)
        distance = np.minimum(distance, ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length)
    return edge(distance)


def sails(rng: np.random.Generator, x: Array, y: Array) -> list[tuple[Array, Array]]:
    """Main sail, jib and mast as (colour, coverage) pairs: warm canvas with seams and folds."""
    cloth = 1 + 0.07 * fbm(rng, x.shape, (9, 14), octaves=5, gain=0.7)
    seams = 1 - 0.16 * np.exp(-((((y + 0.24 * x) % 8.0) - 4) ** 2) / 0.5)
    main = inside(x, y, [(-1.5, -60), (-1.5, -12), (-29, -10)])
    jib = inside(x, y, [(1.5, -54), (27, -9), (2, -12)])
    warm = mix(
        np.full((*x.shape, 3), rgb(196, 128, 100)), rgb(255, 226, 176), smoothstep(-26, 0, x)
    )
    pale = mix(np.full((*x.shape, 3), rgb(255, 238, 204)), rgb(224, 120, 84), smoothstep(0, 22, x))
    stripe = edge(2.6 - np.abs(y + 27 + 0.24 * x))
    warm = mix(warm, rgb(196, 60, 48), stripe)
    shade = (cloth * seams)[..., None]
    mast = edge(0.9 - np.abs(x)) * (y > -62) * (y < -4)
    wood = np.full((*x.shape, 3), rgb(84, 50, 34))
    return [(warm * shade, main), (pale * shade, jib), (wood, mast)]


def hull(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """The planked hull as (colour, coverage)."""
    shape = inside(x, y, [(-27, -9), (33, -10.5), (23, 1.5), (-22, 1.5)])
    planks = 1 - 0.3 * np.exp(-((((y + 0.03 * x) % 2.8) - 1.4) ** 2) / 0.12)
    colour = mix(np.full((*x.shape, 3), rgb(54, 50, 72)), rgb(176, 84, 54), smoothstep(-26, 34, x))
    colour = mix(colour, rgb(244, 224, 190), edge(1.0 - np.abs(y + 8.4 + 0.025 * x)))
    grain = 1 + 0.1 * fbm(rng, x.shape, (20, 8), octaves=4, gain=0.7)
    return colour * (planks * grain)[..., None], shape


def reflection(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """The boat's broken mirror image as (colour, coverage): part of the sheet, so rigid too."""
    ripple = 2.2 * np.sin(2.1 * y + 0.16 * x) + 1.6 * fbm(rng, x.shape, (22, 5), octaves=2)
    sway = x + ripple * smoothstep(0, 8, y)
    colour = mix(np.full((*x.shape, 3), rgb(58, 44, 60)), rgb(206, 140, 104), smoothstep(4, 9, y))
    colour = colour * (1 + 0.16 * np.sin(2.1 * y + 0.3 * x))[..., None]
    cover = inside(sway, y, [(-24, 0), (25, 0), (13, 12), (1, 27), (-2, 27), (-17, 11)])
    return mix(colour, rgb(48, 58, 88), 0.35 + 0.4 * smoothstep(4, 26, y)), cover


def pier(rng: np.random.Generator) -> Layer:
    """The foreground: three weathered posts, a rail and deck boards, lit from the right."""
    x, y = grid(LEFT, TOP, RIGHT, BOTTOM)
    colour, alpha = np.zeros((*x.shape, 3), np.float32), np.zeros_like(x)
    for part, cover in (deck(rng, x, y), rail(rng, x, y)):
        colour, alpha = mix(colour, part, cover), np.maximum(alpha, cover)
    for middle, top, half in ((34.0, 84.0, 6.5), (186.0, 76.0, 7.5), (338.0, 82.0, 7.0)):
        part, cover = post(rng, x - middle, y - top, half)
        colour, alpha = mix(colour, part, cover), np.maximum(alpha, cover)
    return sheet("pier", colour, alpha, (LEFT, TOP), 1.0)


def post(rng: np.random.Generator, x: Array, y: Array, half: float) -> tuple[Array, Array]:
    """A round post around x = 0 from y = 0 down, `half` px to each side."""
    wobble = 0.5 * fbm(rng, x.shape, (10, 2), octaves=3)
    lip = half + wobble + 1.2 * edge(2 - np.abs(y - 7))
    grain = fbm(rng, x.shape, (5, 190), octaves=4, gain=0.7)
    turn = np.clip(x / half, -1, 1)
    colour = mix(
        np.full((*x.shape, 3), rgb(38, 30, 38)), rgb(206, 124, 72), smoothstep(-0.6, 1.15, turn)
    )
    colour = colour * (1 + 0.2 * grain)[..., None]
    colour = mix(colour, rgb(224, 206, 176), 0.8 * smoothstep(6.5, 3.0, y + 0.3 * x))
    cracks = smoothstep(1.35, 1.9, fbm(rng, x.shape, (4, 120), octaves=3))
    colour = mix(colour, rgb(24, 20, 26), 0.7 * cracks)
    dome = y - 2.2 * turn**2
    return colour, edge(np.minimum(lip - np.abs(x), dome))


def rail(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """One beam from post to post, its upper face in the light."""
    middle = 146 + 0.012 * x
    grain = fbm(rng, x.shape, (160, 8), octaves=4, gain=0.7)
    colour = mix(
        np.full((*x.shape, 3), rgb(62, 46, 48)),
        rgb(222, 156, 104),
        smoothstep(-0.5, -3, y - middle),
    )
    return colour * (1 + 0.17 * grain)[..., None], edge(5 - np.abs(y - middle))


def deck(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """Boards running towards the viewer, with dark joints that meet at the horizon."""
    below = np.maximum(y - HORIZON, 1)
    board = (x - 170) / below * 76
    joint = np.abs(((board / 15) % 1) - 0.5)
    number = np.floor(board / 15).astype(int)
    tone = rng.uniform(0.7, 1.15, 400)[number % 400]
    grain = cv2.GaussianBlur(fbm(rng, x.shape, (14, 130), octaves=4, gain=0.7), (0, 0), 1.0)
    colour = mix(
        np.full((*x.shape, 3), rgb(112, 80, 66)), rgb(178, 116, 78), smoothstep(60, 260, x)
    )
    colour = (
        colour * (tone * (1 + 0.15 * grain) * (1 - 0.75 * smoothstep(0.44, 0.5, joint)))[..., None]
    )
    return mix(colour, rgb(236, 172, 116), 0.7 * edge(1.0 - np.abs(y - 165.5))), edge(y - 164.5)


def layers(seed: int) -> list[Layer]:
    """Every sheet, back to front."""
    makers = (sky, mountains, balloon, headland, water, boat, pier)
    return [make(np.random.default_rng([seed, i])) for i, make in enumerate(makers)]
