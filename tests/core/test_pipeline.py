import subprocess
import sys
import threading
import time

import pytest

from vidstyle import pipeline
from vidstyle.pipeline import ahead, behind, side_by_side

PATIENCE = 20  # seconds, for what should come at once
STAGES = [
    lambda: ahead(iter(int, 1)),
    lambda: behind(print),
    lambda: side_by_side(print, iter(int, 1), threads=1),
]


def test_items_come_in_order():
    with ahead(range(20), room=3) as items:
        assert list(items) == list(range(20))


def test_the_next_item_is_made_while_one_is_used():
    second = threading.Event()

    def made():
        yield 1
        second.set()
        yield 2

    with ahead(made()) as items:
        assert next(items) == 1
        assert second.wait(PATIENCE)


def test_items_are_prepared_side_by_side_and_come_in_order():
    together = threading.Barrier(3)

    def prepare(number):
        together.wait(PATIENCE)  # none goes on before three are there

    with side_by_side(prepare, range(12), threads=3) as items:
        assert list(items) == list(range(12))


def test_none_comes_before_it_is_prepared():
    prepared = []

    def prepare(number):
        time.sleep(0.01 * (number % 3))
        prepared.append(number)

    with side_by_side(prepare, range(12), threads=3) as items:
        assert all(item in prepared for item in items)


def test_what_came_before_an_error_comes_before_it():
    def broken():
        yield from range(6)
        raise ValueError("broken")

    for threads in (1, 4):
        with side_by_side(lambda number: None, broken(), threads) as items:
            assert [next(items) for _ in range(6)] == list(range(6))
            with pytest.raises(ValueError, match="broken"):
                next(items)


def test_an_error_in_preparing_comes_in_its_place():
    with side_by_side(lambda number: 1 / (number - 2), range(6), threads=3) as items:
        assert [next(items), next(items)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(items)


def test_what_makes_items_has_ended_too():
    """A generator that waits holds what it has open, as threads of its own."""
    ended = []

    def numbers():
        try:
            yield from range(100)
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt), ahead(numbers()) as items:
        next(items)
        raise KeyboardInterrupt
    assert ended


def test_one_can_wait_for_all_calls():
    seen = []

    def take(number):
        time.sleep(0.01)
        seen.append(number)

    with behind(take) as put:
        for number in range(3):
            put(number)
        put.wait()
        assert seen == [0, 1, 2]


def test_no_more_is_made_ahead_than_there_is_room_for():
    made = []

    def numbers():
        for number in range(100):
            made.append(number)
            yield number

    with ahead(numbers(), room=3) as items:
        for taken, _ in enumerate(items, 1):
            assert len(made) <= taken + 4
            if taken == 10:
                break
    assert len(made) <= 14


def test_an_error_in_the_making_comes_in_its_place():
    def broken():
        yield 1
        raise ValueError("broken")

    with ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="broken"):
            next(items)


def test_calls_are_made_in_order_and_all_of_them():
    seen = []
    with behind(seen.append, room=2) as put:
        for number in range(20):
            put(number)
    assert seen == list(range(20))


def test_calls_are_made_meanwhile():
    used = threading.Event()
    with behind(lambda number: used.set()) as put:
        put(1)
        assert used.wait(PATIENCE)


def test_no_more_calls_wait_than_there_is_room_for():
    let_go, seen, given = threading.Event(), [], []

    def take(number):
        let_go.wait(PATIENCE)
        seen.append(number)

    def give():
        with behind(take, room=2) as put:
            for number in range(10):
                put(number)
                given.append(number)

    giver = threading.Thread(target=give)
    giver.start()
    giver.join(0.2)
    assert len(given) <= 2
    let_go.set()
    giver.join(PATIENCE)
    assert seen == list(range(10))


def test_an_error_in_a_call_ends_the_work():
    seen = []

    def take(number):
        seen.append(number)
        if number == 3:
            raise ValueError("disk full")

    with pytest.raises(ValueError, match="disk full"), behind(take) as put:
        for number in range(1000):
            put(number)
    assert seen == [0, 1, 2, 3]


def test_an_error_in_the_last_call_is_raised_on_leaving():
    with pytest.raises(ZeroDivisionError), behind(lambda number: 1 / number) as put:
        put(0)


@pytest.mark.parametrize("stage", STAGES)
def test_no_thread_is_left_by_an_error_outside(stage):
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt), stage():
        assert threading.active_count() == before + 1
        raise KeyboardInterrupt
    assert threading.active_count() == before


@pytest.mark.parametrize("stage", STAGES)
def test_a_signal_in_the_midst_of_leaving_ends_the_thread_too(stage, monkeypatch):
    """Or it would wait for calls until Python's exit."""

    class Interrupting(threading.Event):
        def set(self):
            super().set()
            raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "Event", Interrupting)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt), stage():
        pass
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_an_error_outside_waits_for_the_call_at_hand_and_for_no_other():
    begun, let_go, seen = threading.Event(), threading.Event(), []

    def take(number):
        begun.set()
        let_go.wait(PATIENCE)
        seen.append(number)

    with pytest.raises(KeyboardInterrupt), behind(take) as put:
        put(1)
        put(2)
        begun.wait(PATIENCE)
        threading.Timer(0.1, let_go.set).start()
        raise KeyboardInterrupt
    assert seen == [1]


def test_the_first_item_is_made_by_who_asks():
    """A long way to a clip's late start can then be stopped."""
    names = (threading.current_thread().name for _ in range(3))
    with ahead(names) as items:
        first, *others = items
    assert first == threading.current_thread().name and first not in others


def test_stages_outlive_the_main_thread():
    program = """
import threading, time
from vidstyle.pipeline import ahead

def render():
    with ahead(range(20)) as items:
        for item in items:
            time.sleep(0.02)
    print(item)

threading.Thread(target=render).start()
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE * 3
    )
    assert (ended.stdout, ended.stderr) == ("19\n", "")
