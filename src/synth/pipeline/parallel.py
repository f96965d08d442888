"""The same work on many cases, spread over processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
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


def _share(work: Callable[[Any], Any]) -> None:
    """Runs in each worker; inherited by forking, never pickled."""
    global _work
    _work = work


def _do(item: Any) -> Any:
    assert _work is not None  # shared when the worker began
    return _work(item)
