"""The sample clip as a file: H.264 with exact times and honest colour tags, and its sound."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation

from samples.clip import BOB_FRAMES, FPS, FRAMES, HEIGHT, SEED, WIDTH
from samples.noise import Array

SOUND_RATE = 48_000  # samples per second
SECONDS = FRAMES / FPS
NOTES_HZ = (293.66, 440.0, 369.99, 587.33)  # D, A, F sharp, D: one for every half swell
SOUND_BITS_PER_SECOND = 96_000
CRF = 8  # near transparent at under half a megabyte
# mbtree makes libx264's bytes differ from run to run, even with one thread.
X264 = {"crf": str(CRF), "preset": "slower", "x264-params": "mbtree=0"}
# Default scaling biases chroma by a level; these flags do not.
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


def sound(seed: int = SEED) -> Array:
    """Waves, wind and a plucked note at every half swell: (2, samples) float32 in [-1, 1]."""
    time = np.arange(round(SECONDS * SOUND_RATE)) / SOUND_RATE
    swell = np.sin(2 * np.pi * time * FPS / BOB_FRAMES)
    rng = np.random.default_rng([seed, 100])
    waves = [band(rng, time.size, 250, 2500) * (0.5 + 0.4 * swell) for _ in range(2)]
    wind = [band(rng, time.size, 60, 400) for _ in range(2)]
    mixed = 0.05 * np.stack(waves) + 0.03 * np.stack(wind) + 0.2 * melody(time)
    fade = np.clip(np.minimum(time, SECONDS - time) / 0.03, 0, 1)
    return (mixed * fade).astype(np.float32)


def band(rng: np.random.Generator, count: int, low: float, high: float) -> Array:
    """Noise between two frequencies in Hz, (count,) with deviation 1."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / SOUND_RATE)
    shaped = np.fft.irfft(spectrum * np.exp(-((hz / high) ** 2)) * (hz > low), count)
    return shaped / shaped.std()


def melody(time: Array) -> Array:
    """Plucked notes in step with the swell, wandering right with the boat: (2, samples)."""
    total = np.zeros((2, time.size))
    for number, pitch in enumerate(NOTES_HZ):
        since = time - number * BOB_FRAMES / FPS / 2
        rise = np.clip(since / 0.01, 0, 1)  # seconds: no click at the start
        tone = np.sin(2 * np.pi * pitch * since) + 0.3 * np.sin(4 * np.pi * pitch * since)
        right = 0.35 + 0.1 * number
        total += np.outer([1 - right, right], rise * np.exp(-np.maximum(since, 0) / 0.35) * tone)
    return total


def write_clip(path: Path, frames: list[Array]) -> None:
    """Encode the frames and the sound; each frame is (180, 320, 3) uint8 RGB."""
    with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as file:
        picture, voice = picture_stream(file), sound_stream(file)
        for number, frame in enumerate(frames):
            file.mux(picture.encode(to_yuv(frame, number)))
        file.mux(picture.encode(None))
        file.mux(voice.encode(to_audio(sound())))
        file.mux(voice.encode(None))


def picture_stream(file: av.container.OutputContainer) -> av.VideoStream:
    """H.264 4:2:0, tagged as what `to_yuv` makes: BT.709, limited range."""
    stream = file.add_stream("libx264", rate=FPS, options=X264)
    stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context = stream.codec_context
    context.time_base = Fraction(1, FPS)
    context.thread_count = 1
    context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
    context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def sound_stream(file: av.container.OutputContainer) -> av.AudioStream:
    """AAC, stereo."""
    stream = file.add_stream("aac", rate=SOUND_RATE, layout="stereo")
    stream.codec_context.bit_rate = SOUND_BITS_PER_SECOND
    return stream


def to_yuv(rgb: Array, number: int) -> av.VideoFrame:
    """One picture with an exact time, converted with the matrix that the tags promise."""
    frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
        format="yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=EXACT,
    )
    frame.pts, frame.time_base = number, Fraction(1, FPS)
    return frame


def to_audio(samples: Array) -> av.AudioFrame:
    """All of (2, samples) float32 as one audio frame; the encoder cuts it up."""
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
    return frame
