"""Passes over a shot: in which order, from what, and what they are for."""

import tempfile
import tracemalloc
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from tests.core.toys import cpu, stripes, texture, toy_net
from vidstyle import passes as passes_module
from vidstyle import stylize
from vidstyle.errors import EncodeError
from vidstyle.flow import load_flow
from vidstyle.frame import Frame
from vidstyle.measure import WarpError, along
from vidstyle.passes import Spool, stylize_in_passes
from vidstyle.settings import StyleSettings
from vidstyle.stylize import OptimizingStyler

LOOK = StyleSettings(steps=2, first_steps=20)


BACK, FORTH = -1, -2


def level(value: int) -> np.ndarray:
    """A picture that says which it is, to the bit in 16 bits."""
    return np.full((4, 6, 3), value / 65535, np.float32)


def said(image: np.ndarray) -> int:
    return round(float(image[0, 0, 0]) * 65535)


class Logging:
    """Makes 100 more of a frame n first, then a thousand more than it was, and takes notes."""

    def __init__(self) -> None:
        self.log: list[tuple[int, ...]] = []

    def start_shot(self) -> None:
        self.log.append(())

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
        self.log.append((said(image), said(result), BACK if backwards else FORTH))

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        self.log.append((said(image),))
        return level(100 + said(image))

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        self.log.append((said(image), said(earlier)))
        return level(1000 + said(earlier))


def frames_of(*shots: int) -> list[tuple[int, Frame]]:
    """So many frames in each shot, frame n being `level(n)`."""
    shot_of = [shot for shot, count in enumerate(shots) for _ in range(count)]
    return [
        (shot, Frame(level(index), index, index, Fraction(1, 24)))
        for index, shot in enumerate(shot_of)
    ]


def test_passes_go_back_and_forth_over_each_shot(tmp_path: Path) -> None:
    work, heard = Logging(), list[tuple[int, int]]()
    results = stylize_in_passes(
        frames_of(3, 2), work, 3, False, tmp_path, lambda *where: heard.append(where)
    )
    # What a pass begins with stays as the pass before has left it.
    assert [said(result) for result in results] == [1100, 2101, 1102, 1103, 1104]
    first_shot = [(), (0,), (1,), (2,)]
    first_shot += [(2, 102, BACK), (1, 101), (0, 100)]
    first_shot += [(0, 1100, FORTH), (1, 1101), (2, 102)]
    second_shot = [(), (3,), (4,), (4, 104, BACK), (3, 103), (3, 1103, FORTH), (4, 104)]
    assert work.log == first_shot + second_shot
    order = [(0, index) for index in (0, 1, 2, 2, 1, 0, 0, 1, 2)]
    assert heard == order + [(1, index) for index in (3, 4, 4, 3, 3, 4)]
    assert list(tmp_path.iterdir()) == []


def test_a_loop_meets_its_own_end(tmp_path: Path) -> None:
    work = Logging()
    results = stylize_in_passes(frames_of(3), work, 3, True, tmp_path)
    assert [said(result) for result in results] == [2100, 2101, 2102]
    back = [(0, 100, BACK), (2, 102), (1, 101), (0, 100)]
    forth = [(2, 1102, FORTH), (0, 1100), (1, 1101), (2, 1102)]
    assert work.log == [(), (0,), (1,), (2,), *back, *forth]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes_module, "BLOCK", 2)
    monkeypatch.setattr(passes_module, "AHEAD", 1)


def test_a_long_shot_is_gone_over_in_blocks_that_look_ahead(
    small_blocks: None, tmp_path: Path
) -> None:
    work, heard = Logging(), list[tuple[int, int]]()
    results = stylize_in_passes(
        frames_of(4), work, 3, False, tmp_path, lambda *where: heard.append(where)
    )
    # The frame ahead, 2, stays in the backward pass as the first block has left it.
    assert [said(result) for result in results] == [1100, 2101, 2102, 1103]
    first = [(), (0,), (1,), (2,), (2, 102, BACK), (1, 101), (0, 100)]
    first += [(0, 1100, FORTH), (1, 1101), (2, 102)]
    second = [(3,), (3, 103, BACK), (2, 1102), (1, 2101, FORTH), (2, 1102), (3, 103)]
    assert work.log == first + second
    assert sorted(heard) == sorted([(0, index) for index in range(4)] * 3)


def test_one_block_leads_over_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Though each has a look of its own, no two frames differ by more than their share of it."""
    monkeypatch.setattr(passes_module, "BLOCK", 12)
    monkeypatch.setattr(passes_module, "AHEAD", 4)

    class Blocks(Logging):
        def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
            self.log.append(())

        def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
            return level(1000 * self.log.count(()))

    looks = [
        said(result) for result in stylize_in_passes(frames_of(36), Blocks(), 2, False, tmp_path)
    ]
    assert looks[:12] == [2000] * 12
    assert looks[12:15] == [2000, 2250, 2500] and looks[16:24] == [3000] * 8
    assert np.abs(np.diff(looks[:15])).max() <= 250


def test_repeats_are_equal_where_one_block_leads_over_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A frame in twos has one result, twice, also where the last of two is the first of a block."""
    monkeypatch.setattr(passes_module, "BLOCK", 13)
    monkeypatch.setattr(passes_module, "AHEAD", 6)

    class Twos(Logging):
        """Gives what a frame repeats the same result, and frames come in twos."""

        def __init__(self) -> None:
            super().__init__()
            self.passes = 0

        def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None:
            self.passes += 1

        def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
            return level(1000 * self.passes + said(image))

    twos = [(0, replace(frame, image=level(frame.index // 2))) for _, frame in frames_of(39)]
    results = [said(r) for r in stylize_in_passes(twos, Twos(), 2, False, tmp_path)]
    assert len(set(results[13:19])) > 2
    assert [results[n] for n in range(12, 18, 2)] == [results[n] for n in range(13, 19, 2)]


@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6, 7])
def test_a_shot_of_any_length_gives_every_frame_once(
    small_blocks: None, tmp_path: Path, frames: int
) -> None:
    results = list(stylize_in_passes(frames_of(frames, 1), Logging(), 2, False, tmp_path))
    assert [said(result) % 100 for result in results] == list(range(frames + 1))


def test_the_first_results_come_before_a_long_shot_ends(small_blocks: None, tmp_path: Path) -> None:
    def endless() -> Iterator[tuple[int, Frame]]:
        for index in count():
            assert index < 10, "all of the shot was asked for"
            yield 0, Frame(level(index), index, index, Fraction(1, 24))

    assert said(next(stylize_in_passes(endless(), Logging(), 2, False, tmp_path))) == 1100


def test_results_are_given_one_by_one_while_the_next_block_is_worked_on(
    small_blocks: None, tmp_path: Path
) -> None:
    """All at once, whoever encodes them would be waited for; only a shot's last ones are."""
    work = Logging()
    results = stylize_in_passes(frames_of(8), work, 2, False, tmp_path)
    done = [len(work.log) for _ in results]
    assert len(done) == 8 and sorted(set(done[:6])) == done[:6] and len(set(done[6:])) == 1


def test_a_cut_is_no_loop(tmp_path: Path) -> None:
    plain, asked = Logging(), Logging()
    for work, loop in ((plain, False), (asked, True)):
        list(stylize_in_passes(frames_of(2, 2), work, 2, loop, tmp_path))
    assert asked.log == plain.log


def test_no_shot_is_held_in_memory(tmp_path: Path) -> None:
    """The next frame is asked for only when the one before is done with."""
    asked = list[int]()

    class Asking(Logging):
        def next_frame(self, image: np.ndarray) -> np.ndarray:
            assert asked[-1] == said(image)
            return super().next_frame(image)

    frames = ((shot, asked.append(frame.index) or frame) for shot, frame in frames_of(5))  # type: ignore[func-returns-value]
    assert len(list(stylize_in_passes(frames, Asking(), 2, False, tmp_path))) == 5


class Plain:
    """A refiner that remembers nothing."""

    def start_shot(self) -> None: ...

    def start_pass(self, image: np.ndarray, result: np.ndarray, backwards: bool) -> None: ...

    def next_frame(self, image: np.ndarray) -> np.ndarray:
        return image

    def refine(self, image: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        return earlier


def peak_memory(frames: int, folder: Path) -> int:
    """Bytes, of a shot of so many frames of 32 kB in 16 bits and twice that in float."""
    pictures = (np.full((72, 76, 3), index % 2, np.float32) for index in range(frames))
    shot = ((0, Frame(image, n, n, Fraction(1, 24))) for n, image in enumerate(pictures))
    tracemalloc.start()
    deque(stylize_in_passes(shot, Plain(), 2, False, folder), maxlen=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_shot(tmp_path: Path) -> None:
    waiting = 8  # pictures between threads, now more, now fewer
    assert peak_memory(300, tmp_path) < peak_memory(50, tmp_path) + waiting * 72 * 76 * 12


def test_the_spool_keeps_sixteen_bits_and_leaves_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [(rng.integers(0, 65536, (5, 7, 3)) / 65535).astype(np.float32) for _ in range(4)]
    with Spool(tmp_path, 4) as spool:
        for index, place in enumerate((0, 2)):
            spool.add(pictures[place])
            spool.replace(index, pictures[1])
        spool.replace(1, pictures[3])
        spool.settled()
        kept = [spool.source(0), spool.result(0), spool.source(1), spool.result(1)]
    assert all(np.array_equal(a, b) for a, b in zip(kept, pictures, strict=True))
    assert list(tmp_path.iterdir()) == []


def test_a_spool_forgets_what_its_capacity_cannot_hold(tmp_path: Path) -> None:
    with Spool(tmp_path, 3) as spool:
        for index in range(7):
            spool.add(level(index))
            spool.replace(index, level(100 + index))
        spool.replace(4, level(999))
        spool.settled()
        assert [said(spool.source(index)) for index in (4, 5, 6)] == [4, 5, 6]
        assert [said(spool.result(index)) for index in (4, 5, 6)] == [999, 105, 106]
        assert spool._file.seek(0, 2) == 3 * 2 * 4 * 6 * 3 * 2  # frames, both, pixels, 16 bits


def full_file(dir: Path) -> BinaryIO:
    return open("/dev/full", "w+b")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk")
@pytest.mark.parametrize("size", [4, 100])
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Small pictures wait in a buffer, which closing would write once more."""
    picture = np.zeros((size, size, 3), np.float32)
    monkeypatch.setattr(tempfile, "TemporaryFile", full_file)
    advice = r"the disk is full; .* --work-dir, or with -o where --no-resume is given"
    with pytest.raises(EncodeError, match=advice), Spool(tmp_path, 4) as spool:
        spool.add(picture)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="nowhere: could not be written"):
        Spool(tmp_path / "nowhere", 4)


def moving(count: int, step: int, width: int = 80) -> list[np.ndarray]:
    """A view that moves `step` pixels a frame round a world that closes on itself."""
    world = np.tile(texture(48, count * step, grain=2.0), (1, 3, 1))
    return [np.ascontiguousarray(world[:, n * step : n * step + width]) for n in range(count)]


def rendered(sources: list[np.ndarray], folder: Path, passes: int, loop: bool) -> list[np.ndarray]:
    work = OptimizingStyler(toy_net(), [stripes()], cpu(), LOOK, load_flow("dis"))
    frames = [(0, Frame(image, n, n, Fraction(1, 24))) for n, image in enumerate(sources)]
    return list(stylize_in_passes(frames, work, passes, loop, folder))


@pytest.fixture(scope="module")
def going_round() -> list[np.ndarray]:
    return moving(12, 6)


@pytest.fixture(scope="module")
def plain(
    going_round: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> list[np.ndarray]:
    """In three passes that do not meet their own end."""
    return rendered(going_round, tmp_path_factory.mktemp("plain"), 3, False)


def test_what_comes_into_view_is_painted_already(
    going_round: list[np.ndarray], plain: list[np.ndarray], tmp_path: Path
) -> None:
    """A strip that a pan has just brought in, against itself four frames on: exactly 24 pixels."""
    changes = []
    for results in (rendered(going_round, tmp_path, 1, False), plain):
        pairs = zip(results[1:-4], results[5:], strict=True)
        arrived = [result[:, -6:] - later[:, -30:-24] for result, later in pairs]
        changes.append(float(np.abs(arrived).mean()))
    assert changes[1] < 0.7 * changes[0]


def seam(sources: list[np.ndarray], results: list[np.ndarray]) -> float:
    error = WarpError(along(load_flow("farneback")))
    for end in (-1, 0):
        error.add(sources[end], results[end])
    return error.ratio


def test_a_later_pass_is_held_to_the_content_by_a_share_of_the_weight(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame, own = texture(48, 64), np.full((48, 64, 3), 0.5, np.float32)

    def refined(content_weight: float, hold: float) -> np.ndarray:
        monkeypatch.setattr(stylize, "PASS_HOLD", hold)
        look = replace(LOOK, content_weight=content_weight)
        styler = OptimizingStyler(toy_net(), [stripes()], cpu(), look, load_flow("dis"))
        styler.start_pass(np.roll(frame, 5, axis=1), own, backwards=True)  # nothing rests
        return styler.refine(frame, own)

    assert (refined(4.0, 0.25) == refined(1.0, 1.0)).all()
    assert (refined(4.0, 0.25) != refined(0.0, 0.25)).any()


def test_a_loop_is_as_steady_over_its_seam(
    going_round: list[np.ndarray], plain: list[np.ndarray], tmp_path: Path
) -> None:
    looped = rendered(going_round, tmp_path, 3, True)
    assert seam(going_round, looped) < 0.5 * seam(going_round, plain)


def test_a_still_stays_still(tmp_path: Path) -> None:
    still = texture(48, 64)
    results = rendered([still] * 5, tmp_path, 3, False)
    assert max(float(np.abs(result - results[0]).max()) for result in results) < 1 / 255
