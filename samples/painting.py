"""The sample painting: a shore at sunset in the manner of the early expressionists.

Each thing is a region with a stream function: its level lines are the way the strokes run *and*
the bands its colours follow, so that form and brush work swirl together. Things are painted back
to front, each from broad underpainting to fine accents.
"""

import numpy as np

from samples.brush import Pass, Region, canvas, light, paint, wash
from samples.noise import Array, fbm, mix, ramp, rgb, smoothstep

WIDTH, HEIGHT = 768, 960
SEED = 1893
GROUND = rgb(150, 96, 58)  # unprimed board: it shows between the strokes
SUN = (250.0, 252.0)
VANISH = (806.0, 378.0)  # where the pier's lines meet, px
FOOT = (30.0, 990.0)  # the near end of the deck's edge
HAND = (-70.0, 640.0)  # the near end of the hand rail

SKY_BANDS = [
    (-90, (120, 30, 40)),
    (-40, (196, 44, 30)),
    (-12, (232, 96, 36)),
    (14, (246, 168, 60)),
    (32, (84, 140, 136)),
    (46, (250, 206, 110)),
    (74, (230, 84, 30)),
    (112, (196, 32, 24)),
    (142, (238, 118, 36)),
    (164, (252, 214, 120)),
    (178, (150, 176, 150)),
    (192, (246, 160, 52)),
    (226, (214, 48, 24)),
    (256, (238, 112, 34)),
    (278, (254, 222, 130)),
    (300, (240, 130, 40)),
    (336, (206, 44, 26)),
    (366, (244, 150, 52)),
    (392, (255, 216, 124)),
    (430, (236, 112, 44)),
]
SUN_RINGS = [
    (0, (255, 248, 206)),
    (30, (255, 236, 160)),
    (38, (250, 190, 74)),
    (52, (255, 222, 120)),
    (64, (240, 128, 40)),
    (82, (252, 196, 92)),
    (112, (238, 130, 44)),
]
WATER_BANDS = [
    (0, (44, 92, 150)),
    (22, (120, 176, 186)),
    (36, (22, 58, 110)),
    (64, (12, 30, 66)),
    (88, (28, 104, 122)),
    (104, (150, 196, 176)),
    (116, (34, 84, 150)),
    (150, (14, 34, 78)),
    (176, (20, 84, 100)),
    (196, (86, 146, 130)),
    (210, (16, 44, 92)),
]
WATER_PERIOD = 210

BROAD = Pass((20, 30), (120, 240), 1.5, jitter=0.06, stray=10, gain=0.72)
MIDDLE = Pass((9, 13), (70, 130), 2.2, jitter=0.07, stray=6)
FINE = Pass((5, 8), (45, 110), 1.25, jitter=0.1, stray=8)
ACCENT = Pass((2.5, 4.5), (40, 100), 0.12, jitter=0.14, stray=10, gain=1.12, dry=0.5)
SMALL = Pass((4, 7), (30, 80), 2.6, jitter=0.08, stray=3)
TOUCH = Pass((2.5, 4), (16, 50), 0.9, jitter=0.12, stray=3, gain=1.12)


def plane() -> tuple[Array, Array]:
    """Pixel coordinates x and y, each (960, 768) float32."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return x, y


def sky(rng: np.random.Generator) -> Region:
    """Bands of fire that bend round the sun and roll over in a great wave on the right."""
    x, y = plane()
    waves = y + 30 * np.sin(x / 128 + 0.7) * smoothstep(420, 150, y) + 11 * np.sin(x / 51 + y / 80)
    around = np.hypot(x - SUN[0], (y - SUN[1]) * 1.1)
    roll = np.hypot((x - 570) * 0.72, y - 168)
    stream = waves - 104 * np.exp(-((roll / 88) ** 2)) + 96 * np.exp(-((around / 92) ** 2))
    stream = mix(stream, SUN[1] + 96 - 0.8 * around, np.exp(-((around / 76) ** 6)))
    stream = stream + 5 * fbm(rng, x.shape, (5, 4), octaves=3)
    target = ramp(stream + 5 * fbm(rng, x.shape, (14, 6), octaves=3), SKY_BANDS)
    target = mix(target, ramp(around, SUN_RINGS), smoothstep(112, 70, around))
    return Region(np.ones(x.shape, bool) & (y < 420), stream, target)


def sun(rng: np.random.Generator) -> Region:
    """The disc itself, in short thick turns."""
    x, y = plane()
    radius = np.hypot(x - SUN[0], (y - SUN[1]) * 1.1) + fbm(rng, x.shape, (12, 10), octaves=2)
    return Region(radius < 44, radius, ramp(radius, SUN_RINGS))


def skyline(x: Array, base: float, humps: tuple[tuple[float, float, float], ...]) -> Array:
    """Height of a row of hills at every x: px from the top; humps are (middle, width, rise)."""
    return base - sum(rise * np.exp(-(((x - middle) / wide) ** 2)) for middle, wide, rise in humps)


def far_hills(rng: np.random.Generator) -> Region:
    """Blue-violet hills across the water, their strokes along the slope."""
    x, y = plane()
    top = skyline(x, 380, ((60, 110, 50), (420, 90, 26), (640, 170, 84)))
    stream = y - top + 4 * fbm(rng, x.shape, (6, 5), octaves=2)
    bands = [
        (0, (92, 84, 140)),
        (12, (42, 58, 118)),
        (30, (66, 96, 140)),
        (44, (28, 36, 84)),
        (90, (20, 30, 70)),
    ]
    return Region((y > top) & (y < 400), stream, ramp(stream, bands))


def near_hills(rng: np.random.Generator) -> Region:
    """A dark green headland in front of them."""
    x, y = plane()
    top = skyline(x, 398, ((800, 240, 74), (520, 70, 10), (-20, 120, 34)))
    stream = y - 1.15 * top + 4 * fbm(rng, x.shape, (6, 5), octaves=2)
    bands = [
        (-60, (70, 120, 96)),
        (-46, (20, 54, 60)),
        (-30, (44, 96, 84)),
        (-16, (10, 28, 44)),
        (20, (16, 42, 58)),
    ]
    return Region((y > top) & (y < 412), stream, ramp(stream, bands))


def water(rng: np.random.Generator) -> Region:
    """Still bands at the horizon, then one great eddy, with the sun's road on it."""
    x, y = plane()
    level = 1.5 * y + 9 * np.sin(x / 66)
    eddy = 1.25 * np.hypot((x - 120) * 0.5, y - 740)
    stream = mix(level, 1060 - eddy + 9 * np.sin(x / 41), smoothstep(400, 600, y))
    stream = stream + 7 * fbm(rng, x.shape, (6, 5), octaves=3)
    shade = (stream + 7 * fbm(rng, x.shape, (14, 8), octaves=2)) % WATER_PERIOD
    target = ramp(shade, WATER_BANDS)
    road = np.exp(-(((x - SUN[0]) / (46 + 0.25 * np.abs(y - 390))) ** 2)) * smoothstep(640, 420, y)
    glow = smoothstep(0.2, 0.6, road + 0.22 * np.sin(y / 5.2 + 0.5 * np.sin(x / 37)) - 0.08)
    fire = ramp(
        y + 14 * fbm(rng, x.shape, (30, 5)),
        [(390, (255, 226, 130)), (450, (246, 156, 56)), (600, (214, 74, 40))],
    )
    far = smoothstep(470, 396, y)
    target = mix(target, mix(target, rgb(236, 150, 84), 0.6), far)
    return Region(y > 388, stream, mix(target, fire, glow))


def line_y(x: Array, end: tuple[float, float]) -> Array:
    """Height at every x of the straight line from the vanishing point to a near end."""
    return VANISH[1] + (VANISH[0] - x) / (VANISH[0] - end[0]) * (end[1] - VANISH[1])


def nearness(x: Array) -> Array:
    """How close the pier is at this x: 0 at the vanishing point, 1 at the left border."""
    return (VANISH[0] - x) / VANISH[0]


def deck(rng: np.random.Generator) -> Region:
    """Boards that rush to the vanishing point: ochre, rust and blue shadow side by side."""
    x, y = plane()
    angle = np.degrees(np.arctan2(y - VANISH[1], VANISH[0] - x))
    board = angle * 0.42 + 0.5 * fbm(rng, x.shape, (4, 4), octaves=2)
    tones = rng.permutation(np.linspace(0, 1, 64))[np.floor(board).astype(int) % 64]
    palette = [
        (0, (60, 50, 66)),
        (0.25, (126, 70, 44)),
        (0.5, (182, 116, 62)),
        (0.75, (150, 108, 84)),
        (0.9, (214, 156, 90)),
        (1, (90, 104, 122)),
    ]
    target = ramp(tones, palette)
    gap = np.abs(board % 1 - 0.5)
    target = mix(target, rgb(40, 28, 36), smoothstep(0.4, 0.5, gap))
    return Region(y > line_y(x, FOOT), angle * 10, target)


def beam(rng: np.random.Generator, share: float, thick: float, lit: tuple[int, int, int]) -> Region:
    """One rail between hand rail (`share` 0) and deck (1), `thick` px at the near end."""
    x, y = plane()
    middle = line_y(x, HAND) * (1 - share) + line_y(x, FOOT) * share
    half = 2 + 0.5 * thick * nearness(x)
    across = (y - middle) / half
    stream = across * half + 1.2 * fbm(rng, x.shape, (5, 5), octaves=2)
    bands = [
        (-1, (250, 180, 92)),
        (-0.55, lit),
        (-0.2, (176, 60, 34)),
        (0.15, (66, 34, 46)),
        (0.7, (28, 26, 52)),
        (1, (48, 66, 96)),
    ]
    return Region(np.abs(across) < 1, stream, ramp(across, bands))


def posts(rng: np.random.Generator) -> Region:
    """Uprights that carry the rails, thicker and further apart as they come nearer."""
    x, y = plane()
    mask, across = np.zeros(x.shape, bool), np.zeros_like(x)
    for middle in (718, 668, 590, 456, 214):
        half = 2 + 24 * nearness(np.float32(middle))
        top, foot = line_y(np.float32(middle), HAND), line_y(np.float32(middle), FOOT) + half
        here = (np.abs(x - middle) < half) & (y > top) & (y < foot)
        across = np.where(here, (x - middle) / half, across)
        mask |= here
    bands = [(-1, (214, 110, 58)), (-0.5, (120, 58, 46)), (0, (58, 34, 48)), (1, (22, 24, 48))]
    return Region(mask, x + 3 * fbm(rng, x.shape, (5, 5), octaves=2), ramp(across, bands))


def dress(rng: np.random.Generator) -> Region:
    """A lonely figure from behind: the long coat, one S-curve from shoulder to hem."""
    x, y = plane()
    down = (y - 560) / 330
    middle = 452 + 16 * np.sin(3.4 * down)
    half = (
        30
        + 44 * smoothstep(-0.02, 0.14, down)
        - 26 * smoothstep(0.2, 0.42, down)
        + 52 * smoothstep(0.4, 1, down)
    )
    across = (x - middle) / half
    folds = (
        across * 70 + 8 * np.sin(across * 6 + down * 4) + 3 * fbm(rng, x.shape, (5, 5), octaves=2)
    )
    bands = [
        (-75, (250, 150, 70)),
        (-58, (206, 56, 40)),
        (-30, (120, 26, 44)),
        (-8, (170, 40, 48)),
        (16, (64, 20, 52)),
        (44, (96, 30, 66)),
        (75, (30, 24, 66)),
    ]
    return Region(
        (np.abs(across) < 1) & (down > 0) & (down < 1.03 - 0.05 * across**2),
        folds,
        ramp(folds, bands),
    )


def hair(rng: np.random.Generator) -> Region:
    """Loose hair down to the shoulders, and the nape."""
    x, y = plane()
    down = (y - 556) / 76
    across = (x - 453) / (30 + 10 * np.clip(down, -1, 1))
    bands = [(-1, (250, 190, 100)), (-0.4, (206, 112, 50)), (0.2, (130, 62, 40)), (1, (60, 30, 44))]
    stream = x + 6 * np.sin(y / 17)
    return Region(np.hypot(across, down) < 1, stream, ramp(across + 0.15 * np.sin(y / 12), bands))


def hat(rng: np.random.Generator) -> Region:
    """A straw hat: brim and crown in yellows, blue-green in the shade, a red ribbon."""
    x, y = plane()
    lean = y - 506 - 0.06 * (x - 452)
    brim = np.hypot((x - 452) / 66, lean / 15) < 1
    crown = (np.hypot((x - 454) / 35, (lean + 8) / 36) < 1) & (lean < 0)
    tone = (x - 452) / 66 + 0.5 * lean / 15
    bands = [
        (-1.2, (255, 240, 170)),
        (-0.4, (250, 206, 96)),
        (0.2, (216, 150, 60)),
        (0.7, (120, 122, 84)),
        (1.3, (58, 80, 90)),
    ]
    ribbon = (np.abs(lean + 9) < 5) & crown
    target = mix(ramp(tone, bands), rgb(190, 36, 36), ribbon)
    return Region(brim | crown, lean + 0.004 * (x - 452) ** 2, target)


def shadow(rng: np.random.Generator) -> Region:
    """The figure's long shadow on the boards, away from the sun."""
    x, y = plane()
    along, across = (x - 470) * 0.75 + (y - 890) * 0.66, (y - 890) * 0.75 - (x - 470) * 0.66
    mask = (np.abs(across) < 52 - 0.1 * along) & (along > -60) & (along < 300)
    bands = [(-34, (70, 50, 90)), (0, (34, 30, 66)), (34, (84, 54, 76))]
    return Region(mask, across, ramp(across + 8 * fbm(rng, x.shape, (5, 5)), bands))


def scream(seed: int = SEED) -> Array:
    """The whole painting, (960, 768, 3) uint8 RGB; well under a minute on one core."""
    rng = np.random.default_rng(seed)
    wet = canvas((HEIGHT, WIDTH), GROUND)
    full, small = (BROAD, MIDDLE, FINE, ACCENT), (SMALL, TOUCH)
    things = [
        (sky(rng), full),
        (sun(rng), small),
        (far_hills(rng), (MIDDLE, FINE, ACCENT)),
        (near_hills(rng), (MIDDLE, FINE, ACCENT)),
    ]
    things += [(water(rng), full), (posts(rng), small)]
    things += [
        (beam(rng, 0.5, 26, (226, 96, 44)), small),
        (deck(rng), full),
        (shadow(rng), (MIDDLE, FINE)),
    ]
    things += [
        (beam(rng, 1.0, 40, (214, 120, 60)), small),
        (beam(rng, 0.0, 46, (236, 104, 40)), small),
    ]
    things += [(dress(rng), (MIDDLE, SMALL, TOUCH)), (hair(rng), small), (hat(rng), small)]
    for region, passes in things:
        wash(rng, wet, region)
        for going in passes:
            paint(rng, wet, region, going)
    return light(rng, wet)
