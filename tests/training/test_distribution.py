"""Several processes train what one does, by every method and in both modes; and what ends one ends all, in a sentence.

Dropout is off: no two processes drop the same units, and neither do one and two. All else that is drawn is compared.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from serene.audio.batch import length_buckets
from serene.errors import SereneError
from serene.experiment import recipe
from serene.experiment.train import train
from serene.methods import METHODS, PRETRAINING
from serene.models import across
from serene.models.heads import cross_entropy
from serene.training import distribution
from serene.training.trainer import Trainer

import side_by_side  # isort: skip  # of this folder

TOLERANCE = 5e-5  # of a weight; sums over two halves round otherwise than sums over the whole
ADAM = 2e-3  # where Adam ascends: it moves a weight by its rate of 1e-3, however small a gradient rounding leaves
TABLE = [*METHODS, *PRETRAINING]
DDP, FSDP = list(side_by_side.CASES), [*TABLE, "layers", "layers, computed again"]
DIES = """
import os, signal
from serene.training.checkpoint import Checkpoint

keep = Checkpoint.keep

def dying(self, *kept):
    keep(self, *kept)
    if os.environ["RANK"] == "1" and self.epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)

Checkpoint.keep = dying
"""
MAIN = "from serene.cli import main\nmain()\n"


def start(words: list[str]) -> list[subprocess.CompletedProcess[str]]:
    """Run two processes as torchrun does, which keeps their store, with these words after `python`, until they end."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    known |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0", "CUDA_VISIBLE_DEVICES": ""}
    piped: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [
        subprocess.Popen([sys.executable, *words], env=os.environ | known | {"RANK": rank, "LOCAL_RANK": rank}, **piped)
        for rank in ("0", "1")
    ]
    said = [one.communicate() for one in started]
    return [subprocess.CompletedProcess(p.args, p.returncode, *s) for p, s in zip(started, said, strict=True)]


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[subprocess.CompletedProcess[str]]]:
    """Start two processes once: a folder of what they made of all cases, and how they ended, over a manifest."""
    folder = tmp_path_factory.mktemp("two")
    words = [side_by_side.__file__, str(folder), "/".join(DDP), "/".join(FSDP)]
    return folder, start(words)


@pytest.fixture(scope="module")
def of_one(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """Give a function: a case -> what this process alone makes of it, once."""
    made: dict[str, dict[str, Any]] = {}

    def of(case: str) -> dict[str, Any]:
        if case not in made:
            made[case] = side_by_side.trained(case, tmp_path_factory.mktemp("one"))
        return made[case]

    return of


def far(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((tensor.double() - other[name].double()).abs().max().item() for name, tensor in one.items())


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "case"), [("ddp", case) for case in DDP] + [("fsdp", case) for case in FSDP])
def test_two_processes_go_the_way_of_one(
    mode: str, case: str, of_one: Callable[[str], dict[str, Any]], of_two: tuple[Path, Any]
) -> None:
    one, two = of_one(case), torch.load(of_two[0] / mode / f"{case}.pt")
    begun = side_by_side.model_of(case, side_by_side.CASES[case][1]).state_dict()
    assert far(begun, {name: one["weights"][name] for name in begun}) > 1e-3, "something was learnt"
    assert far(one["weights"], two["weights"]) < (ADAM if "adam" in case else TOLERANCE)
    for own, others in zip(one["rows"], two["rows"], strict=True):
        assert others == pytest.approx(own, rel=2e-3, abs=5e-5)  # validation too


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
def test_what_two_began_one_goes_on_with(mode: str, of_two: tuple[Path, Any], tmp_path: Path) -> None:
    """The checkpoint after the last of two epochs holds everything, the optimiser's states too."""
    shutil.copytree(of_two[0] / mode / "layers", tmp_path / "cut")
    whole = side_by_side.trained("layers", tmp_path / "whole", epochs=4)
    rest = side_by_side.trained("layers", tmp_path / "cut", epochs=4)
    assert len(rest["rows"]) == 4
    assert far(whole["weights"], rest["weights"]) < 2 * TOLERANCE


@pytest.mark.slow
def test_a_killed_process_ends_the_other_with_a_sentence_and_one_goes_on(
    tiny_recipe: Path, tmp_path: Path, quick_trials: None
) -> None:
    own = ["protocol.run=1", "model.head_dropout=0.0", "training.optimizer=sgd"]
    words = ["-c", DIES + MAIN, "train", str(tiny_recipe), *own, "-o", str(tmp_path / "two")]
    survivor, killed = start(words)
    assert (survivor.returncode, killed.returncode) == (2, -9)
    assert survivor.stderr.count(f"error: {distribution.LOST}") == 1
    assert "Traceback" not in survivor.stderr
    assert len(list((tmp_path / "two").glob("*/fold-1/seed-0/training.pt"))) == 1
    runs = [train(recipe.load(tiny_recipe, own), tmp_path / name) for name in ("two", "one")]
    assert runs[0].identity == runs[1].identity
    weights = [safetensors.torch.load_file(run.trial("1", 0).folder / "model/model.safetensors") for run in runs]
    assert far(*weights) < TOLERANCE


@pytest.mark.slow
def test_processes_that_differ_end_with_one_sentence(
    of_two: tuple[Path, list[subprocess.CompletedProcess[str]]],
) -> None:
    _, ended = of_two
    assert [one.returncode for one in ended] == [2, 2], ended[0].stderr + ended[1].stderr
    said = [line for one in ended for line in one.stderr.splitlines() if line.startswith("error: ")]
    assert said == [
        "error: Process 1 of 2 has another manifest than the first: of 1, and not of 0. Give all the same, and run "
        "again; nothing was trained."
    ]


# --- what needs no other process


@pytest.fixture
def of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be the second of three, which say nothing."""
    monkeypatch.setattr(across, "processes", lambda: 1 if across._apart else 3)
    monkeypatch.setattr(across, "number", lambda: 0 if across._apart else 1)


def test_more_processes_than_clips_of_a_batch_are_refused(of_three: None, tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match=re.escape("3 processes cannot share batches of 2 clips; start 2 at most")):
        train(recipe.load(tiny_recipe, ["training.batch_size=2"]), tmp_path)
    assert list(tmp_path.iterdir()) == []
    Trainer(batch_size=3)
    Trainer(batch_size=2, batch_seconds=10.0)


def test_jobs_and_torchrun_are_one_too_many(of_three: None, tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(SereneError, match="--jobs 2 trains several folds side by side, and torchrun one fold"):
        train(recipe.load(tiny_recipe), tmp_path, jobs=2)


def test_every_row_is_in_one_share(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = length_buckets(np.arange(1, 24), 7, np.random.default_rng(0))
    monkeypatch.setattr(across, "processes", lambda: 3)
    for batch in batches:
        shares = []
        for number in range(3):
            monkeypatch.setattr(across, "number", lambda number=number: number)
            shares.append(batch[across.own(len(batch))].tolist())
        assert [row for share in shares for row in share] == batch.tolist()
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_apart_every_process_does_the_whole(of_three: None) -> None:
    with across.apart(alone=False) as copies:
        assert (across.processes(), copies) == (3, 1)
    with across.apart() as copies:
        assert (across.processes(), across.own(5), copies) == (1, slice(0, 5), 3)
    assert across.processes() == 3


def test_one_process_changes_no_bit() -> None:
    logits, target = torch.randn(7, 4), torch.softmax(torch.randn(7, 4), dim=1)
    for wanted in (target, target.argmax(dim=1)):
        assert torch.equal(cross_entropy(logits, wanted), nn.functional.cross_entropy(logits, wanted))


def test_how_a_training_is_shared_does_not_identify_it(tiny_recipe: Path) -> None:
    plain, sharded = (recipe.load(tiny_recipe, [f"training.distribute={mode}"]) for mode in ("ddp", "fsdp"))
    assert plain.identity("x") == sharded.identity("x")
