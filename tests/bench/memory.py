"""Memory held while a long clip goes by, with finished work stored: one line every 500 frames.

python -m tests.bench.memory --frames 5000
python -m tests.bench.memory --frames 5000 --passes 1
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import vidstyle
from tests.video.made_clips import make_clip, texture

EVERY = 500


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--passes", type=int, default=vidstyle.StyleSettings().passes)
    asked, done = parser.parse_args(), 0

    def listen(event: object) -> None:
        nonlocal done
        done += isinstance(event, vidstyle.FrameDone)
        if isinstance(event, vidstyle.FrameDone) and done % (EVERY * asked.passes) == 0:
            print(f"{done // asked.passes} frames: {resident_mb():.1f} MB", flush=True)

    with tempfile.TemporaryDirectory() as name:
        clip, painting = Path(name, "a.mp4"), Path(name, "p.png")
        make_clip(clip, asked.frames, sound=("aac",))
        Image.fromarray(np.uint8(texture(1, 60, 40) * 255)).save(painting)
        vidstyle.stylize_video(
            clip,
            [painting],
            Path(name, "b.mp4"),
            part=vidstyle.ClipSettings(size=32),
            look=vidstyle.StyleSettings(steps=1, first_steps=1, passes=asked.passes),
            compute=vidstyle.ComputeSettings(device="cpu", threads=1, precision="fp32"),
            on_event=listen,
        )


if __name__ == "__main__":
    main()
