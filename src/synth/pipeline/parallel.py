"""The same work on many cases, spread over processes; in `each_apart` a case that ends its process ends no other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

_work: Callable[[Any], Any] | None = None


def each(work: Callable[[Item], Result], items: Sequence[Item], workers: int = 1) -> Iterator[Result]:
    """`work` of every item, in order; with several workers, each a forked process with one torch thread.

    Forked, so that models and images are shared and not sent. The results do not depend on the number of workers
    beyond the order of floating-point sums inside one convolution.

    Example:
        >>> list(each(lambda n: n * n, [1, 2, 3], workers=2))
        [1, 4, 9]
    """
    if workers <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ProcessPoolExecutor(workers, get_context("fork"), _share, (work,)) as pool:
            yield from pool.map(_do, items)
    finally:
        torch.set_num_threads(threads)


def each_apart(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, died: Callable[[Item], Result]
) -> Iterator[Result]:
    """`work` of every item as it gets done; `died` of one whose process ended on the way (out of memory, a crash).

    With one worker everything runs in this process, which such an item ends.

    Example:
        >>> sorted(each_apart(lambda n: n * n, [1, 2, 3], 2, lambda n: -1))
        [1, 4, 9]
    """
    if workers <= 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        waiting = list(reversed(items))
        while waiting:
            suspects = yield from _until_broken(work, waiting, workers)
            for item in suspects:  # which of them ended the pool shows when each is alone
                alone = [item]
                if (yield from _until_broken(work, alone, 1)):
                    yield died(item)
    finally:
        torch.set_num_threads(threads)


def _until_broken(
    work: Callable[[Item], Result], waiting: list[Item], workers: int
) -> Generator[Result, None, list[Item]]:
    """Take items off the end of `waiting` until none is left or a process ended; returns those that were under way."""
    with ProcessPoolExecutor(workers, get_context("fork"), _share, (work,)) as pool:
        running: dict[Future[Any], Item] = {}
        while waiting or running:
            while waiting and len(running) < workers:
                item = waiting.pop()
                try:
                    running[pool.submit(_do, item)] = item
                except BrokenProcessPool:
                    return [item, *running.values()]
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                if isinstance(future.exception(), BrokenProcessPool):
                    return list(running.values())
                del running[future]
                yield future.result()
    return []


def _share(work: Callable[[Any], Any]) -> None:
    """Runs in each worker; inherited by forking, never pickled."""
    global _work
    _work = work


def _do(item: Any) -> Any:
    assert _work is not None  # shared when the worker began
    return _work(item)
