"""Work spread over processes that end with their parent; what a dead one had in hand is done by another."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def spread(work: Callable[[Job], Result], jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Result | None]]:
    """Results with the places of their jobs, as they come; few jobs are under way at a time.

    A job in whose hands two processes died, the second of them with nothing else to do, has the result None. One
    process, or one job, needs no other: then the work is done here.
    """
    if processes <= 1 or len(jobs) <= 1:
        yield from ((place, work(job)) for place, job in enumerate(jobs))
        return
    left = list(range(len(jobs)))
    while left:
        try:
            for place, result in _pooled(work, jobs, left, processes):
                left.remove(place)
                yield place, result
        except BrokenProcessPool:
            # One of those under way ended its process, and which one is not known: each of them alone.
            suspects, left = left[: 2 * processes], left[2 * processes :]
            for place in suspects:
                yield place, _alone(work, jobs, place)


def _alone(work: Callable[[Job], Result], jobs: Sequence[Job], place: int) -> Result | None:
    try:
        ((_, result),) = _pooled(work, jobs, [place], 1)
    except BrokenProcessPool:
        return None
    return result


def _pooled(
    work: Callable[[Job], Result], jobs: Sequence[Job], places: Sequence[int], processes: int
) -> Iterator[tuple[int, Result]]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn, initializer=begin_worker) as pool, _ended_at_once():
        waiting: dict[Future[Result], int] = {}
        left = list(reversed(places))
        while left or waiting:
            while left and len(waiting) < 2 * processes:
                place = left.pop()
                waiting[pool.submit(work, jobs[place])] = place
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()


@contextlib.contextmanager
def _ended_at_once() -> Iterator[None]:
    """Ends the processes begun in the block when it is left by an exception, rather than wait for what they do."""
    before = set(multiprocessing.active_children())
    try:
        yield
    except BaseException:
        for child in set(multiprocessing.active_children()) - before:
            child.kill()
        raise


def begin_worker() -> None:
    """One thread; Ctrl-C is the parent's to answer; and an end as soon as the parent ends, however it does."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
