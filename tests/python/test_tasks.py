"""Tasks: steps that never block, several kinds of work at once, cancelling, progress, deadlines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from syfr.errors import ClosedError, DeadlineError, ShapeError
from syfr.face.tasks import Emit, Steps, Task, Wait, pause, ready, together

pytestmark = pytest.mark.timeout(20)

LONG = 60.0


class End:
    """One end of a pair of sockets, as something to wait for."""

    def __init__(self, sock: socket.socket, wants_write: bool = False) -> None:
        self.sock, self.wants_write = sock, wants_write
        sock.setblocking(False)

    def fileno(self) -> int:
        return self.sock.fileno()

    def reading(self) -> Steps[bytes]:
        while True:
            try:
                return self.sock.recv(10)
            except BlockingIOError:
                yield Wait([self])


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    with pair() as both:
        yield both


@contextmanager
def pair() -> Iterator[tuple[End, End]]:
    first, second = socket.socketpair()
    with first, second:
        yield End(first), End(second)


def at_once(value: int) -> Callable[[Emit], Steps[int]]:
    def work(_: Emit) -> Steps[int]:
        return value
        yield Wait()

    return work


def test_work_that_waits_for_nothing_is_done_in_one_step() -> None:
    task = Task(at_once(3))
    assert not task.done
    assert task.step(0) is True
    assert task.done
    assert task.result() == task.wait() == 3
    assert task.step(0) is True


def test_a_step_ends_as_soon_as_the_work_is_done(ends: tuple[End, End]) -> None:
    task = Task(lambda _: ends[0].reading())
    assert task.step(0) is False
    threading.Timer(0.05, ends[1].sock.send, [b"hello"]).start()
    assert task.step(LONG) is True
    assert task.result() == b"hello"


def test_a_step_ends_with_its_time(ends: tuple[End, End]) -> None:
    task = Task(lambda _: ends[0].reading())
    assert task.step(0.01) is False
    with pytest.raises(DeadlineError, match="still under way"):
        task.result()


def test_a_closed_channel_ends_the_wait(ends: tuple[End, End]) -> None:
    ends[0].sock.close()
    assert Wait([ends[0]]).over(time.monotonic() + LONG) is True


def test_a_channel_that_wants_to_write_is_waited_for(ends: tuple[End, End]) -> None:
    assert Wait([ends[0]]).over(time.monotonic()) is False
    assert Wait([End(ends[1].sock, wants_write=True)]).over(time.monotonic() + LONG) is True


def test_channels_that_need_a_look(ends: tuple[End, End]) -> None:
    here, there = ends
    assert ready([here, there]) == []
    there.sock.send(b"x")
    assert ready([here, there]) == [here]
    there.wants_write = True
    assert ready([here, there]) == [here, there]
    here.sock.close()
    assert ready([here]) == [here]


def test_nobody_looks_twice_at_what_a_wait_has_seen(ends: tuple[End, End]) -> None:
    here, there = ends
    wait = Wait([here, there])
    assert wait.happened is None
    assert wait.over(time.monotonic()) is False
    assert wait.happened == set()
    there.sock.send(b"x")
    assert ready([here, there], wait.happened) == []
    assert wait.over(time.monotonic() + LONG) is True
    assert ready([here, there], wait.happened) == [here]
    there.sock.close()
    assert ready([here, there], wait.happened) == [here, there]


def test_what_a_wait_has_seen_is_not_taken_for_what_is_so_at_the_next_step(ends: tuple[End, End]) -> None:
    here, there = ends
    seen: list[set[int] | None] = []

    def work(_: Emit) -> Steps[list[End]]:
        while not (found := ready([here], seen[-1] if seen else set())):
            wait = Wait([here])
            yield wait
            seen.append(wait.happened)
        return found

    task = Task(work)
    assert task.step(0) is False
    there.sock.send(b"x")
    assert task.step(0) is True
    assert task.result() == [here]
    assert seen == [None]


def test_what_was_read_for_another_task_is_found(ends: tuple[End, End]) -> None:
    """A task looks for itself at every step, though nothing new arrives for it to wait for."""
    arrived: list[int] = []

    def work(_: Emit) -> Steps[int]:
        while not arrived:
            yield Wait([ends[0]])
        return arrived[0]

    task = Task(work)
    assert task.step(0) is False
    arrived.append(7)
    assert task.step(LONG) is True
    assert task.result() == 7


def test_an_error_is_raised_by_result_and_not_by_step() -> None:
    def work(_: Emit) -> Steps[None]:
        yield Wait(until=0)
        raise ShapeError("wrong")

    task = Task(work)
    assert task.step() is True
    for _ in range(2):
        with pytest.raises(ShapeError, match="wrong"):
            task.result()
    with pytest.raises(ShapeError, match="wrong"):
        task.wait()


def test_cancelling_cleans_up_and_is_final(ends: tuple[End, End]) -> None:
    cleaned: list[str] = []

    def work(_: Emit) -> Steps[bytes]:
        try:
            return (yield from ends[0].reading())
        finally:
            cleaned.append("up")

    task = Task(work)
    task.step(0)
    task.cancel()
    task.cancel()
    assert cleaned == ["up"]
    assert task.done
    assert task.step() is True
    with pytest.raises(ClosedError, match="cancelled"):
        task.result()


def test_events_are_given_once_and_in_order() -> None:
    def work(emit: Emit) -> Steps[None]:
        emit("served", served=1, of=2)
        yield Wait(until=0)
        emit("served", served=2, of=2)

    task = Task(work)
    assert task.events() == []
    task.step()
    assert task.events() == [{"event": "served", "served": 1, "of": 2}, {"event": "served", "served": 2, "of": 2}]
    assert task.events() == []


def test_waiting_reports_progress() -> None:
    def work(emit: Emit) -> Steps[str]:
        emit("begun")
        yield from pause(0.01)
        emit("ended")
        return "well"

    seen: list[str] = []
    assert Task(work).wait(progress=lambda event: seen.append(event["event"])) == "well"
    assert seen == ["begun", "ended"]


def test_waiting_has_a_deadline_after_which_one_can_wait_again(ends: tuple[End, End]) -> None:
    task = Task(lambda _: ends[0].reading())
    with pytest.raises(DeadlineError, match=r"within 0\.02 s"):
        task.wait(0.02)
    ends[1].sock.send(b"late")
    assert task.wait(LONG) == b"late"


def test_an_interrupt_cancels(ends: tuple[End, End]) -> None:
    cleaned: list[str] = []

    def work(emit: Emit) -> Steps[None]:
        try:
            emit("begun")
            while True:
                yield Wait([ends[0]], time.monotonic() + 0.01)
        finally:
            cleaned.append("up")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    task = Task(work)
    with pytest.raises(KeyboardInterrupt):
        task.wait(LONG, progress=interrupt)
    assert cleaned == ["up"]
    assert task.done


def test_several_kinds_of_work_go_on_at_once() -> None:
    with pair() as first, pair() as second, pair() as third:
        pairs = [first, second, third]
        task = Task(lambda _: together([reader.reading() for reader, _ in pairs]))
        for number in (2, 0, 1):
            assert task.step(0) is False
            pairs[number][1].sock.send(b"%d" % number)
        assert task.wait(LONG) == [b"0", b"1", b"2"]


def test_when_one_fails_the_others_are_closed(ends: tuple[End, End]) -> None:
    closed: list[str] = []

    def waits() -> Steps[None]:
        try:
            yield from ends[0].reading()
        finally:
            closed.append("other")

    def fails() -> Steps[None]:
        yield Wait(until=0)
        raise ShapeError("wrong")

    with pytest.raises(ShapeError):
        Task(lambda _: together([waits(), fails()])).wait(LONG)
    assert closed == ["other"]


def test_a_pause_ends_with_the_deadline() -> None:
    began = time.monotonic()
    Task(lambda _: pause(LONG, began + 0.01)).wait(LONG)
    assert time.monotonic() - began < LONG


def test_a_task_shows_its_state() -> None:
    task = Task(at_once(3))
    assert repr(task) == "Task(under way)"
    task.wait()
    assert repr(task) == "Task(done)"
