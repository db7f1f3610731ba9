"""Flow between neighbours, found once for all passes."""

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.core.test_passes import LOOK
from tests.core.toys import cpu, square_on_ground, stripes, toy_net
from vidstyle.device import own_stream
from vidstyle.flow import load_flow
from vidstyle.flow.motion import NAMES, Links, Motion
from vidstyle.frame import Frame
from vidstyle.images import as_on_disk, to_tensor
from vidstyle.measure.warping import PairError, pair_error
from vidstyle.passes import stylize_in_passes
from vidstyle.pipeline import ahead, behind, side_by_side
from vidstyle.stylize import OptimizingStyler

FIRST, SECOND, THIRD = (square_on_ground(left) for left in (30, 33, 36))
PAIR_BYTES = 2 * 3 * 96 * 128 * 4 + 2 * 25 * 33 * 8  # flow and trust both ways, what looks alike


class Counting:
    def __init__(self) -> None:
        self.calls, self.flow = 0, load_flow("dis")

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        self.calls += 1
        return self.flow(first, second)


def test_both_ways_along_what_moves() -> None:
    links = Motion(load_flow("dis"), torch.device("cpu"), 0).between(FIRST, SECOND)
    inside = (..., slice(36, 60), slice(42, 62))
    assert links.to_earlier.flow[inside][:, 0].median() == pytest.approx(-3, abs=0.2)
    assert links.to_later.flow[inside][:, 0].median() == pytest.approx(3, abs=0.2)


def test_grain_on_a_still_does_not_move_either_way() -> None:
    grain = np.random.default_rng(0).normal(0, 2 / 255, (2, *FIRST.shape)).astype(np.float32)
    earlier, later = (FIRST + noise for noise in grain)
    assert (load_flow("dis")(later, earlier) != 0).mean() > 0.5
    links = Motion(load_flow("dis"), torch.device("cpu"), 0).between(earlier, later)
    assert all((link.flow == 0).float().mean() > 0.9 for link in links[:2])


@pytest.mark.parametrize(
    ("room", "calls"), [(0, 24 + 4), (11 * PAIR_BYTES, 24 + 2), (12 * PAIR_BYTES, 24)]
)
def test_the_latest_pairs_that_fit_are_remembered(room: int, calls: int) -> None:
    """Ten of these twelve always: they have been found ahead of time."""
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), room)
    pairs = list(pairwise(np.roll(FIRST, shift, 1) for shift in range(13)))
    there = [motion.between(*pair) for pair in pairs]
    back = [motion.between(a.copy(), b.copy()) for a, b in reversed(pairs)]
    assert estimate.calls == calls
    for one, other in zip(there, reversed(back), strict=True):
        assert torch.equal(one.alike, other.alike)
        assert all(
            torch.equal(a, b)
            for ours, theirs in zip(one[:2], other[:2], strict=True)
            for a, b in zip(ours, theirs, strict=True)
        )


@pytest.mark.parametrize(
    ("cores", "pairs", "threads"),
    [(16, 100, 8), (64, 100, 8), (6, 100, 3), (1, 100, 1), (16, 7, 2)],
)
def test_beside_a_gpu_pairs_are_looked_for_side_by_side(
    monkeypatch: pytest.MonkeyPatch, cores: int, pairs: int, threads: int
) -> None:
    """By half of the cores, as far as the card has room for so many `pairs`."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    monkeypatch.setattr("vidstyle.flow.motion.room_on", lambda device: pairs * 720 * 1280 * 24)
    motion = Motion(load_flow("dis"), torch.device("cuda", 0), 1)
    assert motion.use_threads(720, 1280) == motion.threads == threads


def test_what_is_repeated_is_forgotten_in_time() -> None:
    motion = Motion(load_flow("dis"), torch.device("cpu"), 0)
    pictures = [np.full((2, 2, 3), place, np.float32) for place in range(NAMES + 10)]
    for picture in pictures:
        motion.repeat(pictures[0], picture)
    assert len(motion._repeated) == NAMES


def test_a_repeat_that_moved_on_itself_is_judged_as_it_did() -> None:
    """Back over A B, whose A had once repeated another picture."""
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), 0)
    motion.repeat(THIRD, FIRST)
    there = motion.between(SECOND, FIRST).to_later
    assert torch.equal(motion.judged_by(SECOND, FIRST).flow, there.flow)
    assert estimate.calls == 2


def test_two_threads_ask_once_for_a_pair() -> None:
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), 0)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(motion.between, FIRST, SECOND) for _ in range(4)]
    assert all(torch.equal(asked[0].result()[0].flow, other.result()[0].flow) for other in asked)
    assert estimate.calls == 2


def test_a_failure_is_everyones_and_is_forgotten() -> None:
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), 0)
    estimate.flow = lambda first, second: 1 / 0
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            motion.between(FIRST, SECOND)
    estimate.flow = load_flow("dis")
    assert motion.between(FIRST, SECOND).to_later.flow.abs().max() > 2
    assert estimate.calls == 2 + 2


def test_pictures_of_the_same_pixels_elsewhere_are_others() -> None:
    """Rows and columns of a chessboard have the same sums wherever it lies."""
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), 0)
    y, x = np.mgrid[:64, :64] // 4
    board = np.repeat(((x + y) % 2).astype(np.float32)[..., None], 3, axis=2)
    flows = [motion.between(board, np.roll(board, shift, 1)).to_later.flow for shift in (1, 2)]
    assert estimate.calls == 4 and not torch.equal(*flows)


@pytest.mark.parametrize("threads", [1, 4])
def test_what_is_found_ahead_is_there_when_it_is_asked_for(threads: int) -> None:
    """One pass, of which nothing else is remembered, and a judge a few frames behind."""
    estimate = Counting()
    motion = Motion(estimate, torch.device("cpu"), 0)
    motion.threads = threads
    pairs = list(pairwise(np.roll(FIRST, shift, 1) for shift in range(30)))
    with (
        side_by_side(lambda pair: motion.between(*pair), pairs, threads) as prepared,
        ahead(prepared) as found,
        behind(lambda pair: motion.judged_by(*pair)) as judge,
    ):
        for pair in found:
            motion.between(*pair)
            judge(pair)
    assert estimate.calls == 2 * len(pairs)


def test_a_pass_that_comes_back_asks_for_no_flow(tmp_path: Path) -> None:
    estimate = Counting()
    styler = OptimizingStyler(toy_net(), [stripes()], cpu(), LOOK, estimate)
    pictures = enumerate(map(as_on_disk, [FIRST, SECOND, THIRD]))
    shot = [(0, Frame(picture, index, index, Fraction(1, 24))) for index, picture in pictures]
    assert len(list(stylize_in_passes(shot, styler, 2, False, tmp_path))) == 3
    assert estimate.calls == 4


def test_beside_a_gpu_what_is_found_is_finished_and_its_memory_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For each who takes it: what it begins with it comes after, and may end after it is let go."""
    happened, found = list[object](), list[list[bool]]()
    stream = SimpleNamespace(
        synchronize=lambda: found.append([one.done() for one in motion._known.values()])
    )
    motion = Motion(load_flow("dis"), torch.device("cuda", 7), 0)
    monkeypatch.setattr(motion, "_tensors", lambda *pictures: [to_tensor(x) for x in pictures])
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(
        torch.Tensor, "record_stream", lambda self, where: happened.append((id(self), where))
    )
    links = motion.between(FIRST, SECOND)
    assert found == [[False]]  # while all was waited for, nobody had it
    kept = [(id(part), stream) for part in links.tensors()]
    assert len(kept) == 5 and happened == kept
    motion.between(FIRST, SECOND)
    motion.judged_by(FIRST, SECOND)
    assert happened == 3 * kept and len(found) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_beside_a_gpus_steps_motion_is_found_without_waiting_for_them() -> None:
    gpu, steps = torch.device("cuda", 0), torch.cuda.Event()

    def both_threads(pool: ThreadPoolExecutor) -> tuple[PairError | None, Links]:
        motion = Motion(load_flow("dis"), gpu, 0)
        with own_stream(gpu):
            error = pair_error(motion.judged_by, (FIRST, SECOND), (FIRST, SECOND))
        return error, pool.submit(_found_beside, motion).result()

    with ThreadPoolExecutor(1) as pool:
        both_threads(pool)  # kernels are brought there, which may wait for everything
        torch.cuda.synchronize(gpu)
        torch.cuda._sleep(4 * 10**9)  # cycles: two seconds
        steps.record()
        error, links = both_threads(pool)
        assert not steps.query()
    torch.cuda.synchronize(gpu)
    expected = Motion(load_flow("dis"), torch.device("cpu"), 0).between(FIRST, SECOND)
    for found, truth in zip(links.tensors()[:4], expected.tensors(), strict=False):
        assert (found.cpu() - truth).abs().mean() < 1e-3
    assert error is not None and error.source == error.result


def _found_beside(motion: Motion) -> Links:
    with own_stream(motion.device):
        return motion.between(FIRST, SECOND)
