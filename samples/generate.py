"""Makes `clip.mp4` and `scream.jpg` anew: `python samples/generate.py [--out DIR]`.

Everything is drawn from fixed seeds. For the exact motion behind the clip call `sample_clip()`.
"""

import argparse
import sys
from pathlib import Path

import cv2

# So that this file runs as a script and loads by its path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from samples.clip import SampleClip, sample_clip
from samples.media import write_clip
from samples.painting import scream

__all__ = ["SampleClip", "main", "sample_clip", "scream", "write_clip", "write_painting"]

HERE = Path(__file__).resolve().parent
JPEG_QUALITY = 86


def write_painting(path: Path) -> None:
    """Paint and save; chroma at full resolution, because thin red strokes are the point."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    full_chroma = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    if not cv2.imwrite(str(path), scream()[..., ::-1], quality + full_chroma):
        raise OSError(f"cannot write {path}: is the folder there and writable?")


def main() -> None:
    """Write both files into the folder asked for, this one by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write into")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    write_clip(out / "clip.mp4", sample_clip().frames)
    write_painting(out / "scream.jpg")
    for name in ("clip.mp4", "scream.jpg"):
        print(f"{out / name}: {(out / name).stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
