"""The contact sheet, as a reader of HTML takes it apart."""

from __future__ import annotations

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from tests.batch.made_jobs import Here, write_jobs
from tests.video.made_clips import make_clip
from vidstyle.batch.jobs import read_jobs
from vidstyle.batch.run import run_batch


class Sheet(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.cards: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "article":
            self.cards.append(dict(attributes)["class"] or "")
        self.links += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += [data.strip()] * bool(data.strip())


def test_failures_first_and_all_in_one_file(folder: Path) -> None:
    (folder / "shots" / "b.mp4").rename(folder / "shots" / "<b>&.mp4")
    make_clip(folder / "shots" / "<b>&.mp4", 12)
    (folder / "shots" / "c.mp4").write_text("no <b>film")
    (folder / "shots" / "a.mp4").unlink()
    job_file = read_jobs(write_jobs(folder, '[[job]]\nclip = "shots/*.mp4"\n'))
    summary = run_batch(job_file, Here())
    text = summary.report.with_suffix(".html").read_text(encoding="utf-8")
    sheet = Sheet(text)
    assert sheet.cards == ["failed", "finished"]
    assert any(word.startswith("1 failed, 0 missing, 1 finished") for word in sheet.words)
    assert sheet.words.index("c-wave.mp4") < sheet.words.index("<b>&-wave.mp4")
    assert any("not a video FFmpeg can read" in word for word in sheet.words)
    assert "64×48, 12 frames" in sheet.words
    assert len(sheet.links) == 1 and "http" not in text
    kind, _, data = sheet.links[0].partition(",")
    assert kind == "data:image/jpeg;base64"
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), np.float32)
    assert still.shape == (48 + 4 + 48, 3 * 64 + 2 * 4, 3)
    # The source is grey and grows brighter; the painting below it is coloured.
    source, result = still[:48], still[52:]
    assert source[:, :64].mean() < source[:, 68:132].mean() < source[:, 136:].mean()
    assert np.ptp(result, axis=2).mean() > 3 * np.ptp(source, axis=2).mean() + 3
