"""One batch on several processes: sums, means and draws over all of its rows, as if one process held them.

Each process has its share of a batch, computes its share of the loss, and the shares add up: so do gradients. What is a
mean over a batch is therefore a sum of its own rows, divided by the `count` of all rows. Where there is one process, or
inside `apart`, everything here leaves things as they are, to the bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Item = TypeVar("Item")
_apart = False


def processes() -> int:
    """Count the processes that share a batch."""
    return 1 if _apart or not (dist.is_available() and dist.is_initialized()) else dist.get_world_size()


def number() -> int:
    """Give this process's number among them; the first is 0."""
    return dist.get_rank() if processes() > 1 else 0


def own(rows: int) -> slice:
    """Say which of so many rows are this process's: a stretch, so that shares follow each other as rows do."""
    bounds = [rows * place // processes() for place in (number(), number() + 1)]
    return slice(*bounds)


@contextlib.contextmanager
def apart(alone: bool = True) -> Iterator[int]:
    """Let every process do the whole of what follows by itself, where `alone`; give how many do the same then."""
    global _apart
    before, copies = _apart, processes() if alone else 1
    _apart = before or alone
    try:
        yield copies
    finally:
        _apart = before


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return summed(gradients[0])  # each process's result hangs on every process's values


def summed(values: Tensor) -> Tensor:
    """Sum values of one shape over the processes; gradients go back to all of them."""
    return values if processes() == 1 else _Sum.apply(values)  # pyright: ignore[reportReturnType]


def count(rows: int) -> int:
    """Count the rows of all processes."""
    return int(summed(torch.tensor(rows)))


def mean(rows: Tensor) -> Tensor:
    """Take the mean of all processes' rows (row, ...): (...)."""
    return rows.mean(dim=0) if processes() == 1 else summed(rows.sum(dim=0)) / count(len(rows))


def agreed(drawn: Tensor) -> Tensor:
    """Give what the first process drew, to all; inside `apart` too."""
    drawn = drawn.contiguous()
    if dist.is_available() and dist.is_initialized():
        dist.broadcast(drawn, 0)
    return drawn


def gathered(items: Sequence[Item]) -> tuple[list[Item], slice]:
    """Collect what can be pickled from all processes, in their order; and say which places are this one's."""
    parts: list[Any] = [items]
    if processes() > 1:
        parts = [None] * processes()
        dist.all_gather_object(parts, items)
    begin = sum(map(len, parts[: number()]))
    return [item for part in parts for item in part], slice(begin, begin + len(items))
