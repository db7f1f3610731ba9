"""The contact sheet, as a reader of HTML takes it apart."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.batch.made_jobs import Here, write_jobs
from tests.video.made_clips import damage, make_clip
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


def sheet_of(folder: Path, jobs: str) -> str:
    report = run_batch(read_jobs(write_jobs(folder, jobs)), Here()).report
    return report.with_suffix(".html").read_text(encoding="utf-8")


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
    for figure, value in (("size", "64×48"), ("frames", "12")):
        assert sheet.words[sheet.words.index(figure) + 1] == value
    assert len(sheet.links) == 1 and "http" not in text
    kind, _, data = sheet.links[0].partition(",")
    assert kind == "data:image/jpeg;base64"
    still = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), np.float32)
    assert still.shape == (48 + 4 + 48, 3 * 64 + 2 * 4, 3)
    # The source is grey and grows brighter; the painting below it is coloured.
    source, result = still[:48], still[52:]
    assert source[:, :64].mean() < source[:, 68:132].mean() < source[:, 136:].mean()
    assert np.ptp(result, axis=2).mean() > 3 * np.ptp(source, axis=2).mean() + 3


def test_results_of_one_name_are_told_apart(folder: Path) -> None:
    jobs = ""
    for name in ("a", "b"):
        (folder / "shots" / f"{name}.mp4").write_text("no film")
        jobs += f'[[job]]\nclip = "shots/{name}.mp4"\nname = "{name}/same.mp4"\n'
    words = Sheet(sheet_of(folder, jobs)).words
    assert words.index(os.path.join("a", "same.mp4")) < words.index(os.path.join("b", "same.mp4"))


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_utf_8(folder: Path) -> None:
    shutil.rmtree(folder / "shots")
    (folder / "shots").mkdir()
    (folder / "shots" / os.fsdecode(b"caf\xe9.mp4")).write_text("no film")
    assert "caf\\udce9-wave.mp4" in Sheet(sheet_of(folder, '[[job]]\nclip = "shots/*"\n')).words


def test_damage_and_warnings_are_told(folder: Path) -> None:
    clip = make_clip(folder / "a.mkv", 12, gop=12, codec="mpeg4")
    damage(clip, 5)
    path = write_jobs(folder, f'[[job]]\nclip = "{clip.name}"\n')
    report = run_batch(read_jobs(path), Here()).report
    words = Sheet(report.with_suffix(".html").read_text(encoding="utf-8")).words
    assert words[words.index("frames") + 1] == "12, damaged: 1"
    warning = f"{clip}: damaged frames, mended as far as may be: 1"
    assert words[words.index("warning") + 1] == warning
    assert json.loads(report.read_text(encoding="utf-8"))["jobs"][0]["warnings"] == [warning]


LOOK = """
const page = document.querySelector("iframe").contentDocument, root = page.documentElement;
document.body.textContent = JSON.stringify({
  width: [root.clientWidth, root.scrollWidth],
  names: [...page.querySelectorAll("h2")].map(e => e.textContent),
  pictures: [...page.images].map(e => [e.naturalWidth, e.naturalHeight]),
  foreign: page.querySelectorAll("script, [onerror]").length,
});
"""


def as_seen(text: str, width: int, folder: Path) -> dict[str, Any]:
    """What Chromium makes of a page of that width."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium here")
    frame = f'<iframe srcdoc="{html.escape(text)}" width="{width}"></iframe>'
    page = f"<meta charset=utf-8><body onload='{LOOK}'>{frame}</body>"
    (folder / "look.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    profile = f"--user-data-dir={folder / 'profile'}"
    asked = [browser, *options, profile, "--dump-dom", (folder / "look.html").as_uri()]
    dom = subprocess.run(asked, capture_output=True, check=True, timeout=120).stdout.decode()
    seen = re.search("<body[^>]*>(.*)</body>", dom, re.DOTALL)
    assert seen is not None
    found: dict[str, Any] = json.loads(html.unescape(seen[1]))
    return found


def test_in_a_browser_as_narrow_as_a_telephone(folder: Path) -> None:
    name = "<img src=x onerror=alert(1)>" + "a_very_long_name_" * 8
    make_clip(folder / "shots" / f"{name}.mp4", 12)
    (folder / "shots" / "a.mp4").unlink()
    (folder / "shots" / "b.mp4").write_text("no film")
    seen = as_seen(sheet_of(folder, '[[job]]\nclip = "shots/*.mp4"\n'), 320, folder)
    assert seen["names"] == ["b-wave.mp4", f"{name}-wave.mp4"]
    assert seen["pictures"] == [[3 * 64 + 2 * 4, 48 + 4 + 48]]
    assert seen["foreign"] == 0
    assert seen["width"][1] <= seen["width"][0] <= 320
