"""Finished work on disk: stored, found again, told apart, and never lost silently."""

from __future__ import annotations

import os
import random
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from threading import Event, Timer
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vidstyle import checkpoint, disk
from vidstyle.checkpoint import Checkpointed, StoredShot, Work
from vidstyle.disk import file_digest
from vidstyle.errors import EncodeError, OutputError
from vidstyle.images import from_levels, to_levels

PICTURE = {"steps": 3, "layers": ("a", "b"), "weights": None}
HERE = {"torch": "1"}


class Adder:
    """A styler whose every frame is the sum of those before it in the shot, and of their number."""

    def __init__(self) -> None:
        self.sum, self.made = torch.zeros(4, 6, 3), 0
        self.sketch: checkpoint.Sketch | None = None

    def start_shot(self) -> None:
        self.sum = torch.zeros(4, 6, 3)

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        raise AssertionError("these shots are gone over once")

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        raise AssertionError("these shots are gone over once")

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        self.made += 1
        self.sum = (self.sum + torch.from_numpy(image)) % 1
        return self.sum.numpy()

    def state(self) -> dict[str, torch.Tensor]:
        return {"sum": self.sum}

    def restore(self, state: Any) -> None:
        self.sum = state["sum"]


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """One moment that tests move by hand."""
    now = [0.0]
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: now[0]))
    yield now


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).random((count, 4, 6, 3), np.float32))


def render(
    folder: Path,
    clock: list[float],
    *,
    until: int = 10,
    seconds: float = 25,
    picture: dict[str, object] = PICTURE,
    keep: bool = False,
    environment: dict[str, str] = HERE,
) -> tuple[list[np.ndarray], int, list[str]]:
    """Ten frames in shots of four; stopped before frame `until`. Results, frames made, warnings."""
    warnings: list[str] = []
    work = Work(folder, "a", picture, keep, on_warning=warnings.append)
    adder, results = Adder(), []
    try:
        with work.held({"threads": 2}, environment), Checkpointed(adder, work) as styler:
            for index, image in enumerate(images(until)):
                if index % 4 == 0:
                    styler.start_shot()
                clock[0] += seconds
                results.append(from_levels(to_levels(styler.next_frame(image))))
            if until < 10:
                raise ZeroDivisionError("stop")
    except ZeroDivisionError:
        pass
    return results, adder.made, warnings


def stored(folder: Path) -> list[tuple[int, int, int]]:
    """Each piece's shot, and from where to where it goes."""
    pieces = [checkpoint.Piece.named(path) for path in folder.glob(".a.work-*/*.npz")]
    return sorted((piece.shot, piece.first, piece.end) for piece in pieces)


def sketched(folder: Path, clock: list[float], steps: int = 7) -> tuple[Work, list[str]]:
    """A run that broke off after so many steps, of 25 s each, on a shot's first frame."""
    warnings: list[str] = []
    work = Work(folder, "a", PICTURE, on_warning=warnings.append)
    with pytest.raises(ZeroDivisionError), work.held({}, HERE), work.shot(4) as shot:
        for step in range(steps):
            clock[0] += 25
            shot.sketch.offer(partial(dict, step=torch.tensor(step), image=torch.ones(1, 3, 2, 2)))
        raise ZeroDivisionError
    return work, warnings


def test_a_first_frame_that_takes_long_is_kept_by_the_minute(
    tmp_path: Path, clock: list[float]
) -> None:
    """After steps 1, 3 and 5 (from 0): one more would have been too much."""
    work, warnings = sketched(tmp_path, clock)
    (kept,) = work.folder.glob("*.sketch")
    with work.shot(4) as shot:
        assert int(shot.sketch.read()["step"]) == 5
        assert torch.equal(shot.sketch.read()["image"], torch.ones(1, 3, 2, 2))
        assert StoredShot(work.folder, 0, warnings.append).sketch.read() == {}  # another shot's
        shot.add(images(1)[0], {})
        shot.close_piece()
        assert not kept.exists()
    assert warnings == []


def test_a_short_first_frame_is_not_kept(tmp_path: Path, clock: list[float]) -> None:
    work, _ = sketched(tmp_path, clock, steps=1)
    assert not work.folder.exists()


def test_a_frame_that_takes_longer_than_the_one_before_is_kept_by_the_minute(
    tmp_path: Path, clock: list[float]
) -> None:
    """With the frames before it: at 45 s, after which its next step would be late, and at 95."""
    work = Work(tmp_path, "a", PICTURE)
    with pytest.raises(ZeroDivisionError), work.held({}, HERE), work.shot(0) as shot:
        for image in images(2):
            clock[0] += 10
            shot.add(image, {"sum": torch.ones(3)})
        for step in range(4):
            clock[0] += 25
            shot.sketch.offer(partial(dict, step=torch.tensor(step)))
        assert stored(tmp_path) == [(0, 0, 2)]
        raise ZeroDivisionError
    with work.shot(0) as shot:
        assert (shot.frames, int(shot.sketch.read()["step"])) == (2, 2)
        shot.add(images(1)[0], {})
        assert shot.sketch.read() == {}  # of the frame after it
        shot.close_piece()
        assert not list(work.folder.glob("*.sketch"))


def test_frames_that_all_take_as_long_are_kept_whole(tmp_path: Path, clock: list[float]) -> None:
    work = Work(tmp_path, "a", PICTURE)
    with work.held({}, HERE), work.shot(0) as shot:
        for image in images(8):
            for step in range(5):
                clock[0] += 5
                shot.sketch.offer(partial(dict, step=torch.tensor(step)))
                assert not list(work.folder.glob("*.sketch"))
            shot.add(image, {})


def test_of_frames_that_all_take_minutes_no_more_than_one_is_lost(
    tmp_path: Path, clock: list[float]
) -> None:
    work = Work(tmp_path, "a", PICTURE)
    with work.held({}, HERE), work.shot(0) as shot:
        for number, image in enumerate(images(3)):
            kept = 150.0 * number
            for step in range(9):  # 15 s each; the tenth is the frame's last
                clock[0] += 15
                shot.sketch.offer(partial(dict, step=torch.tensor(step)))
                if state := shot.sketch.read():
                    kept = 150.0 * number + 15 * (int(state["step"]) + 1)
                assert clock[0] - kept <= checkpoint.PIECE_SECONDS
            clock[0] += 15
            shot.add(image, {})


def test_sketches_of_unknown_choices_are_set_aside(tmp_path: Path, clock: list[float]) -> None:
    work, warnings = sketched(tmp_path, clock)
    (work.folder / "settings.json").write_text("{")
    again = Work(tmp_path, "a", PICTURE, on_warning=warnings.append)
    with again.held({}, HERE), again.shot(4) as shot:
        assert shot.sketch.read() == {}
    assert len(warnings) == 1 and "is damaged or gone" in warnings[0]


def test_a_damaged_first_frame_is_made_from_its_beginning(
    tmp_path: Path, clock: list[float]
) -> None:
    work, warnings = sketched(tmp_path, clock)
    (kept,) = work.folder.glob("*.sketch")
    data = bytearray(kept.read_bytes())
    data[len(data) // 2] ^= 1
    kept.write_bytes(data)
    with work.held({}, HERE), work.shot(4) as shot:
        assert shot.sketch.read() == {}
        assert [path.suffix for path in work.folder.glob("*-*")] == [".damaged"]
    assert len(warnings) == 1 and str(kept) in warnings[0]
    assert not work.folder.exists()


@pytest.mark.parametrize("until", range(1, 10))
def test_it_goes_on_to_the_same_frames(tmp_path: Path, clock: list[float], until: int) -> None:
    """Wherever it stops: inside a piece or at its end, inside a shot or at its end."""
    undisturbed, _, _ = render(tmp_path / "other", clock)
    render(tmp_path, clock, until=until)
    results, made, warnings = render(tmp_path, clock)
    assert np.array_equal(results, undisturbed)
    assert (made, warnings) == (10 - until, [])
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("seconds", [1, 8, 12.5, 18, 25])
def test_no_more_than_a_minute_is_left_to_a_power_loss(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """However the shots fall. Between, files are left to the system: it is faster than a disk."""
    synced = list[tuple[float, int]]()

    def bring(folder: Path, paths: list[Path]) -> None:
        synced.append((clock[0], len(paths)))

    monkeypatch.setattr(checkpoint, "_bring_to_disk", bring)
    frames = 200
    work = Work(tmp_path, "a", PICTURE)
    with work.held({}, HERE), Checkpointed(Adder(), work) as styler:
        for index in range(frames):
            if index % 4 == 0:
                styler.start_shot()
            clock[0] += seconds
            styler.next_frame(images(1)[0])
            styler._shot._later.wait()
    moments = [0.0, *(moment for moment, _ in synced), frames * seconds]
    assert max(later - earlier for earlier, later in pairwise(moments)) <= 60
    assert len(synced) <= frames * seconds / (60 - seconds)
    assert sum(count for _, count in synced) >= frames / 4 * (1 - 60 / seconds / frames) - 1


@pytest.mark.parametrize("room", [1, 8])
def test_a_signal_while_a_piece_is_written_loses_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """It comes where the end of a shot waits for the thread that writes, or for room to ask it."""
    monkeypatch.setattr(checkpoint, "WAITING", room)
    writing, goes_on = Event(), Event()
    write = checkpoint._write_array

    def slow(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
        writing.set()
        goes_on.wait()
        write(archive, name, array)

    work = Work(tmp_path, "a", PICTURE)
    with pytest.raises(KeyboardInterrupt), work.held({}, HERE), work.shot(0) as shot:
        monkeypatch.setattr(checkpoint, "_write_array", slow)
        for image in images(1 if room == 1 else 3):
            shot.add(image, {"n": torch.zeros(1)})
        writing.wait()
        plain = shot._later._waiting[0]
        interrupted = iter([True])

        def result(timeout: float | None = None) -> None:
            if next(interrupted, False):
                Timer(0.1, goes_on.set).start()
                raise KeyboardInterrupt
            return type(plain).result(plain, timeout)

        plain.result = result  # type: ignore[method-assign]
    assert stored(tmp_path) == [(0, 0, 1 if room == 1 else 3)]


@pytest.mark.parametrize(
    ("seconds", "pieces"),
    [
        (25, [(0, 0, 2), (0, 2, 4), (4, 0, 2), (4, 2, 4), (8, 0, 1)]),
        (18, [(0, 0, 3), (0, 3, 4), (4, 0, 2), (4, 2, 4), (8, 0, 1)]),
        (8, [(0, 0, 4), (4, 0, 3), (4, 3, 4), (8, 0, 1)]),
        (70, [*((0, n, n + 1) for n in range(4)), *((4, n, n + 1) for n in range(4)), (8, 0, 1)]),
    ],
)
def test_pieces_hold_a_minute_of_work_on_one_shot(
    tmp_path: Path, clock: list[float], seconds: float, pieces: list[tuple[int, int, int]]
) -> None:
    """Another frame would have been too much; slower frames are a piece each."""
    render(tmp_path, clock, until=9, seconds=seconds)
    assert stored(tmp_path) == pieces


def test_a_shot_s_end_needs_no_state(tmp_path: Path, clock: list[float]) -> None:
    """A state is as large as a second of frames."""
    render(tmp_path, clock, until=9, seconds=18)
    states = [piece.state() for piece in checkpoint._pieces(next(tmp_path.iterdir()))]
    assert [bool(state) for state in states] == [True, False, True, False, True]


def test_pieces_are_bounded_in_size(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PIECE_BYTES", 3 * 4 * 6 * 6)
    render(tmp_path, clock, until=9, seconds=0)
    assert stored(tmp_path) == [(0, 0, 3), (0, 3, 4), (4, 0, 3), (4, 3, 4), (8, 0, 1)]


def test_a_killed_run_loses_the_open_piece_only(tmp_path: Path, clock: list[float]) -> None:
    """What a kill leaves: pieces under their names, one under another, the encoder's file."""
    render(tmp_path, clock, until=6)
    (folder,) = tmp_path.iterdir()
    (folder / "00000004.partial").write_bytes(b"half a zip")
    hidden = tmp_path / ".a.partial-0123abcd.mp4"
    hidden.touch()
    (folder / "unfinished").write_text(str(hidden))
    (piece,) = folder.glob("00000004-*.npz")
    piece.unlink()
    results, made, warnings = render(tmp_path, clock)
    assert (made, warnings) == (6, [])
    assert np.array_equal(results, render(tmp_path, clock)[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_name_that_is_no_text_is_remembered(tmp_path: Path) -> None:
    hidden = tmp_path / os.fsdecode(b".caf\xe9.partial-0123abcd")
    hidden.touch()
    work = Work(tmp_path, "a", PICTURE, keep=True)
    with work.held({}, {}), work.shot(0) as shot:
        work.mark_unfinished(hidden)
        shot.add(images(1)[0], {})
    with Work(tmp_path, "a", PICTURE).held({}, {}):
        assert not hidden.exists()


@pytest.mark.parametrize(
    "name", ["my-partial-renders", ".a.partial-0123abc", "\0.partial-0123abcd"]
)
def test_a_damaged_note_has_nothing_of_others_removed(tmp_path: Path, name: str) -> None:
    """Cut off or overwritten it may name a folder that the hidden file lay in."""
    other = tmp_path / name.lstrip("\0")
    other.mkdir()
    work = Work(tmp_path, "a", PICTURE)
    with work.held({}, {}):
        (work.folder / "unfinished").write_text(str(tmp_path / name))
        with work.shot(0) as shot:
            shot.add(images(1)[0], {})
        work.keep = True
    with Work(tmp_path, "a", PICTURE).held({}, {}):
        assert other.exists() and not (work.folder / "unfinished").exists()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "name"])
def test_a_damaged_piece_is_said_and_made_anew(
    tmp_path: Path, clock: list[float], damage: str
) -> None:
    undisturbed, _, _ = render(tmp_path, clock)
    render(tmp_path, clock, until=9)
    (piece,) = tmp_path.glob(".a.work-*/00000004-00000000-*.npz")
    whole = piece.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 4  # inside the first frame's levels
    renamed = whole.replace(b"state sum", b"state sun")  # no checksum of the zip's covers it
    damages = {"flip": flipped, "cut": whole[:-30], "empty": b"", "name": renamed}
    piece.write_bytes(damages[damage])
    results, made, (warning,) = render(tmp_path, clock)
    assert made == 5 and np.array_equal(results, undisturbed)  # all of its shot, and the last one
    assert warning.endswith("a damaged piece is set aside; its frames are made again")


@pytest.mark.parametrize("damage", ["gone", "zeros", "another value", "no settings"])
def test_without_its_settings_work_is_set_aside_with_a_word(
    tmp_path: Path, clock: list[float], damage: str
) -> None:
    """Its frames may be of another precision or number of threads than would be chosen now."""
    undisturbed, _, _ = render(tmp_path, clock)
    render(tmp_path, clock, until=9)
    (record,) = tmp_path.glob(".a.work-*/settings.json")
    whole = record.read_bytes()
    if damage == "gone":
        record.unlink()
    else:
        changed = whole.replace(b'"threads": 2', b'"threads": 3')
        damages = {"zeros": bytes(len(whole)), "another value": changed, "no settings": b"[3]"}
        record.write_bytes(damages[damage])
    results, made, (warning,) = render(tmp_path, clock, until=9)
    assert made == 9 and np.array_equal(results, undisturbed[:9])
    assert warning.endswith(
        "settings.json is damaged or gone; what was finished is set aside and made again"
    )
    assert len(list(tmp_path.glob(".a.work-*/*.damaged"))) == 5
    assert render(tmp_path, clock)[1:] == (1, [])


def test_damaged_settings_of_other_work_stop_nothing(tmp_path: Path, clock: list[float]) -> None:
    render(tmp_path, clock, until=6)
    (record,) = tmp_path.glob(".a.work-*/settings.json")
    record.write_bytes(b"")
    assert render(tmp_path, clock, picture=PICTURE | {"steps": 4})[1:] == (10, [])
    assert record.exists()


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_crash_leaves_it_ends_with_the_same_frames(
    tmp_path: Path, clock: list[float], seed: int
) -> None:
    """Any of its files cut off, or with zeros or turned bits anywhere: what is lost is said."""
    undisturbed, _, _ = render(tmp_path, clock)
    render(tmp_path, clock, until=9)
    chance = random.Random(seed)
    (folder,) = tmp_path.iterdir()
    (folder / "unfinished").write_text(str(tmp_path / ".a.partial-0123abcd.mp4"))
    hit = chance.choice(sorted(path for path in folder.iterdir() if path.stat().st_size))
    data = bytearray(hit.read_bytes())
    begin = chance.randrange(len(data))
    match chance.choice(["cut", "zeros", "bit"]):
        case "cut":
            del data[begin:]
        case "zeros":
            end = begin + chance.choice([1, 30, 4096])
            data[begin:end] = bytes(len(data[begin:end]))
        case "bit":
            data[begin] ^= 1 << chance.randrange(8)
    hit.write_bytes(data)
    results, made, warnings = render(tmp_path, clock)
    assert np.array_equal(results, undisturbed)
    assert made == 1 or len(warnings) == 1
    assert list(tmp_path.iterdir()) == []


NAMES = (
    *("settings.json", "settings.json.partial", "unfinished", "lock", "00000008.lock"),
    *("00000008.partial", "00000000-00000000-00000002", "00000004-00000002-00000004"),
)


@pytest.mark.parametrize("kind", ["gone", "empty", "folder", "link", "copy"])
@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_in_a_file_s_place_it_goes_on(
    tmp_path: Path, clock: list[float], name: str, kind: str
) -> None:
    """And nothing that may be somebody's is removed."""
    undisturbed, _, _ = render(tmp_path / "other", clock)
    render(tmp_path / "here", clock, until=9)
    (folder,) = (tmp_path / "here").iterdir()
    path = next(folder.glob(f"{name}-*"), folder / name)
    path.touch()
    if kind == "copy":
        path.with_name(f"copy of {path.name}").write_bytes(path.read_bytes())
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()
    if kind == "folder":
        (path / "mine").mkdir(parents=True)
    elif kind == "link":
        path.symlink_to("nowhere")
    results, _, warnings = render(tmp_path / "here", clock)
    assert np.array_equal(results, undisturbed)
    assert all(str(folder) in warning for warning in warnings)
    assert len(list(folder.rglob("mine"))) == (kind == "folder")
    assert len(list(folder.glob("copy of *"))) == (kind == "copy")


def test_settings_that_cannot_be_read_cost_nothing(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows then by which choices a night's frames were made; the next run may."""
    render(tmp_path, clock, until=9)

    def refuse(*asked: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        with pytest.raises(OutputError, match=r"json: cannot be read .*; make it readable"):
            render(tmp_path, clock)
        assert render(tmp_path / "here", clock)[1] == 10
    assert render(tmp_path, clock)[1:] == (1, [])


def test_a_piece_that_is_lost_meanwhile_is_said(tmp_path: Path, clock: list[float]) -> None:
    render(tmp_path, clock, until=9)
    work = Work(tmp_path, "a", PICTURE)
    with (
        pytest.raises(
            EncodeError, match=r"npz: was sound and can no longer be read .*check the disk"
        ),
        work.held({"threads": 2}, HERE),
        Checkpointed(Adder(), work) as styler,
    ):
        styler.start_shot()
        next(work.folder.glob("*.npz")).write_bytes(b"")
        styler.next_frame(images(1)[0])
    assert render(tmp_path, clock)[1] == 5


def test_what_a_kill_leaves_of_a_removal_goes_on_too(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings are there as long as any piece is."""
    undisturbed, _, _ = render(tmp_path / "other", clock)
    unlink, removed = Path.unlink, list[str]()

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".npz" or removed:
            removed.append(path.name)
        if len(removed) == 4:
            raise KeyboardInterrupt
        unlink(path, missing_ok)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        render(tmp_path, clock)
    assert stored(tmp_path) == [(4, 0, 2), (4, 2, 4), (8, 0, 2)]
    results, made, warnings = render(tmp_path, clock)
    assert (made, warnings) == (4, []) and np.array_equal(results, undisturbed)


def test_an_interrupted_search_loses_nothing(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checking a night's pieces takes a while; Ctrl-C may come before the first is found."""
    render(tmp_path, clock, until=6)

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "_is_sound", interrupt)
        render(tmp_path, clock)
    assert render(tmp_path, clock)[1] == 4


def test_other_settings_start_over_and_keep_the_old(tmp_path: Path, clock: list[float]) -> None:
    render(tmp_path, clock, until=6)
    _, made, (warning,) = render(tmp_path, clock, picture=PICTURE | {"steps": 4})
    assert made == 10
    assert "unfinished work with another steps stays there" in warning
    assert render(tmp_path, clock)[1] == 4  # the old settings' work is still there


def test_a_file_is_what_it_holds(tmp_path: Path) -> None:
    one, other = tmp_path / "one.pth", tmp_path / "other.pth"
    one.write_bytes(b"weights")
    other.write_bytes(b"weights")

    def folder(path: Path) -> Path:
        return Work(tmp_path, "a", {"weights": path}).folder

    assert folder(one) == folder(other)
    other.write_bytes(b"weightz")
    assert folder(one) != folder(other)


def test_an_image_sequence_is_all_its_files(tmp_path: Path) -> None:
    digests = set()
    for number in range(3):
        (tmp_path / f"shot[1].{number:04}.png").write_bytes(b"picture")
        digests.add(file_digest(tmp_path / "shot[1].%04d.png"))
    assert len(digests) == 3


def test_choices_are_those_of_the_first_run(tmp_path: Path, clock: list[float]) -> None:
    assert Work(tmp_path, "a", PICTURE).choices is None
    render(tmp_path, clock, until=3)
    assert Work(tmp_path, "a", PICTURE).choices == {"threads": 2}


def test_another_version_is_said(tmp_path: Path, clock: list[float]) -> None:
    render(tmp_path, clock, until=3)
    _, made, (warning,) = render(tmp_path, clock, environment={"torch": "2"})
    assert made == 7 and warning.endswith("made with another torch: last bits may differ")


def test_kept_work_makes_nothing_anew(tmp_path: Path, clock: list[float]) -> None:
    results, _, _ = render(tmp_path, clock, keep=True)
    again, made, _ = render(tmp_path, clock)
    assert made == 0 and np.array_equal(again, results)


def test_two_runs_at_once(tmp_path: Path) -> None:
    first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE)
    with first.held({}, {}), first.shot(0) as shot:
        shot.add(images(1)[0], {})
        with pytest.raises(OutputError, match="another run is at work"), second.held({}, {}):
            pass
        assert first.folder.exists()


def test_two_that_start_at_once_do_not_mix_what_they_settle(tmp_path: Path) -> None:
    """A precision is timed before the folder is had: the second's may be another."""
    first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE)
    with first.held({"precision": "fp32"}, {}), first.shot(0) as shot:
        shot.add(images(1)[0], {})
        first.keep = True
    with (
        pytest.raises(OutputError, match="settled on another precision; the same command goes on"),
        second.held({"precision": "bf16"}, {}),
    ):
        pass
    assert Work(tmp_path, "a", PICTURE).frames == 1


def test_a_folder_is_not_removed_under_the_next_run(tmp_path: Path) -> None:
    """Which has its lock as soon as it is let go of, and has always waited for that moment."""
    for _ in range(20):
        first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE, patience=20.0)
        with ThreadPoolExecutor(1) as threads:
            with first.held({}, {}):
                found = threads.submit(one_frame, second)
                time.sleep(0.02)
            found.result()
        assert list(tmp_path.iterdir()) == []


def one_frame(work: Work) -> None:
    with work.held({}, {}):
        time.sleep(0.01)
        work.mark_unfinished(work.folder / "x")
        with work.shot(0) as shot:
            shot.add(images(1)[0], {})


def test_another_run_is_waited_for(tmp_path: Path) -> None:
    """As long as asked: what it leaves, as a lost worker does, is gone on from."""
    first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE, patience=20.0)

    def wait() -> int:
        with second.held({}, {}):
            return second.frames

    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(KeyboardInterrupt), first.held({}, {}), first.shot(0) as shot:
            shot.add(images(1)[0], {})
            found = threads.submit(wait)
            time.sleep(0.1)
            raise KeyboardInterrupt
        assert found.result() == 1


def test_too_small_a_disk(tmp_path: Path) -> None:
    work = Work(tmp_path, "a", PICTURE)
    with (
        pytest.raises(OutputError, match=r"will take \d+\.\d GB more, .* --work-dir"),
        work.held({}, {}),
    ):
        work.check_space(10**6, 10**8)
    assert list(tmp_path.iterdir()) == []


def test_new_folders_are_brought_to_disk_with_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a power loss may take the folder that all synced pieces lie in."""
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    with Work(tmp_path / "x" / "y", "a", PICTURE).held({}, {}):
        assert synced[:3] == [tmp_path, tmp_path / "x", tmp_path / "x" / "y"]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"cannot be made .* --work-dir"),
        Work(tmp_path / "file", "a", PICTURE).held({}, {}),
    ):
        pass


def test_a_disk_that_fills_up(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pieces before stay, and the message says what to do."""
    work = Work(tmp_path, "a", PICTURE)

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(EncodeError, match="the disk is full; free some space") as caught,
        work.held({"threads": 2}, HERE),
        Checkpointed(Adder(), work) as styler,
    ):
        styler.start_shot()
        for index, image in enumerate(images(6)):
            clock[0] += 25
            if index == 5:
                styler._shot._later.wait()
                monkeypatch.setattr(np.lib.format, "write_array", full)
            styler.next_frame(image)
    assert caught.value.__notes__ == ["the same command goes on after frame 4"]
    assert stored(tmp_path) == [(0, 0, 2), (0, 2, 4)]
    assert list(tmp_path.glob(".a.work-*/*partial*")) == []


def one_shot(folder: Path, first: int, frames: int = 4) -> int:
    """A process of its own at the shot that begins there; how many frames it was given."""
    work = Work(folder, "a", PICTURE)
    work.settle({"threads": 2}, HERE)
    with Checkpointed(Adder(), work, first) as styler:
        styler.start_shot()
        for image in images(10)[first : first + frames]:
            styler.next_frame(image)
    return styler.given


def test_shots_are_made_apart_in_any_order(tmp_path: Path, clock: list[float]) -> None:
    """By other processes, one of which was stopped; a whole render makes what is missing."""
    undisturbed, _, _ = render(tmp_path / "other", clock)
    assert one_shot(tmp_path, 4) == 0
    assert one_shot(tmp_path, 4) == 4
    assert stored(tmp_path) == [(4, 0, 4)]
    results, made, _ = render(tmp_path, clock)
    assert np.array_equal(results, undisturbed) and made == 6
    render(tmp_path, clock, until=6)
    assert one_shot(tmp_path, 4) == 2
    assert render(tmp_path, clock)[1] == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "other"]


def test_a_render_leaves_alone_what_makers_of_shots_have_begun(tmp_path: Path) -> None:
    """Though it has nothing to go on from: theirs is not closed yet."""
    first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE)
    first.settle({}, {})
    with first.shot(0) as shot:
        shot.add(images(1)[0], {})
        taken = pytest.raises(OutputError, match="another run is at work")
        with taken, second.held({}, {}), second.shot(0):
            pass
    assert [piece.end - piece.first for piece in shot.pieces] == [1]
    assert Work(tmp_path, "a", PICTURE).frames == 1


def test_a_shot_is_one_process_s_at_a_time(tmp_path: Path) -> None:
    first, second = Work(tmp_path, "a", PICTURE), Work(tmp_path, "a", PICTURE)
    taken = pytest.raises(OutputError, match="another run is at work")
    with first.shot(0), second.shot(4), taken, second.shot(0):
        pass
    with second.shot(0):
        pass


@pytest.mark.parametrize("frames", [3, 5])
def test_another_length_of_a_finished_shot_is_no_silent_mixture(
    tmp_path: Path, clock: list[float], frames: int
) -> None:
    one_shot(tmp_path, 0)
    with pytest.raises(OutputError, match="a shot of another length than is found now; remove it"):
        one_shot(tmp_path, 0, frames)
