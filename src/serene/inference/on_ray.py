"""A source's sounds are answered by actors of Ray Data, block by block: in the batches of a run on one machine."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

from serene import cluster
from serene.errors import SereneError
from serene.inference.answer_file import Row
from serene.inference.predict import Blocks, answers_of, made_by
from serene.inference.recognizer import Recognizer
from serene.inference.sources import Files


class Answerer:
    """An actor: it loads the model when it is first asked, and answers for a block at a time."""

    def __init__(self, here: cluster.Conditions, blocks: Blocks, rest: bytes) -> None:
        """Keep what is needed; `rest` is the source, what to load, what that is to be, and how many threads decode."""
        self.here, self.blocks, self.rest = here, blocks, rest
        self.known: tuple[Files, Recognizer, int] | None = None

    def __call__(self, asked: Mapping[str, Any]) -> dict[str, bytes]:
        """Give the rows of a block, pickled; or the mistake that prevents it."""
        outcome: dict[str, Row] | SereneError
        try:
            source, recognizer, threads = self.known = self.known or self._met()
            blocks = self.blocks[asked["item"] : asked["item"] + 1]
            outcome = {k: v for few in answers_of(source, blocks, recognizer, threads) for k, v in few.items()}
        except SereneError as error:
            outcome = error
        return {"outcome": pickle.dumps(outcome)}

    def _met(self) -> tuple[Files, Recognizer, int]:
        self.here.meet()
        source, loaded, wanted, threads = pickle.loads(self.rest)
        recognizer = Recognizer.load(**loaded)
        if made_by(recognizer) != wanted:
            raise SereneError(
                f"A Ray worker reads another model at {recognizer.folder.path} than this machine, or runs it in "
                "another way; give all machines the same."
            )
        return source, recognizer, threads


def answers_on(
    on: str, source: Files, blocks: Blocks, recognizer: Recognizer, threads: int | None = None
) -> Iterator[dict[str, Row]]:
    """Answer for some sounds of a source on a Ray cluster, by one actor for each of its cores; a lost one is replaced.

    Args:
        on: `ray` or `ray://HOST:PORT`, as `serene.cluster.connected` takes it.
        source: what is answered for, at paths that every machine of the cluster sees.
        blocks: numbers of sounds that may be answered together.
        recognizer: made by `Recognizer.load`, which each actor does again.
        threads: that decode in each actor, beside the one that answers; one without it.

    Yields:
        The rows of each block, in the order of the blocks.

    Raises:
        SereneError: no Ray answers, or a worker differs in what `serene.cluster.Conditions` compare, or in its model.
    """
    if not blocks:  # all were answered before an interruption
        return
    with cluster.connected(on) as ray, cluster.bounded(ray):
        from ray import data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        context = data.DataContext.get_current()
        context.enable_progress_bars, context.execution_options.preserve_order = False, True
        rest = pickle.dumps((source, dict(recognizer.loaded), made_by(recognizer), threads or 1))
        most = max(1, min(len(blocks), int(ray.cluster_resources().get("CPU", 1))))
        asked = data.from_items(list(range(len(blocks))), override_num_blocks=len(blocks)).map(
            Answerer,  # pyright: ignore[reportArgumentType] - a class, of which each actor has an object
            fn_constructor_args=(cluster.Conditions.here(source.files), blocks, rest),
            compute=data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
            max_task_retries=cluster.LOST,
            num_cpus=1,
            num_gpus=int("cuda" in recognizer.network.what),
        )
        for row in asked.iter_rows():
            yield cluster.opened(pickle.loads(row["outcome"]))
