from __future__ import annotations

import os
import signal

import pytest

from synth.pipeline.parallel import each, each_apart


@pytest.mark.parametrize("workers", [1, 3])
def test_each_keeps_the_order(workers):
    assert list(each(lambda n: n * n, list(range(7)), workers)) == [n * n for n in range(7)]


@pytest.mark.parametrize("workers", [1, 3])
def test_each_apart_does_every_item_once(workers):
    assert sorted(each_apart(lambda n: n * n, list(range(7)), workers, lambda n: -n)) == [n * n for n in range(7)]


def test_an_item_that_ends_its_process_costs_no_other():
    def work(n: int) -> int:
        if n in (2, 5):
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n

    found = sorted(each_apart(work, list(range(8)), 3, lambda n: -n))
    assert found == sorted([-2, -5, *(n * n for n in range(8) if n not in (2, 5))])
