"""One training on several processes: they join, agree on what they train, add their gradients up, and end together."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from serene.errors import SereneError, first_line
from serene.files import locked
from serene.models import across
from serene.models.model import EmotionModel

Mode = Literal["ddp", "fsdp"]
Made = TypeVar("Made")
WAIT = timedelta(minutes=30)  # for the other processes, in one exchange with them
LOOK = 0.05  # seconds between two looks at whether the first process is done, which may take hours
TOGETHER = 32  # parameters whose gradients are sent at once
LOST = (
    "Another process of this training has ended or cannot be reached. Finished epochs are kept: run the same command "
    "again to go on, with as many processes as you like."
)
_store: Any = None  # where the processes leave each other word; as long as they are joined
_asked = 0


@contextlib.contextmanager
def joined() -> Iterator[None]:
    """Join the processes that torchrun started; nothing where it did not, or started a single one.

    On a GPU each, they exchange tensors by NCCL, and by gloo where they are more than their machine's GPUs. Whatever
    ends one of them ends all, and one of them says why.

    Raises:
        SereneError: a process does not come, has another version of serene or torch, or ends too early.
    """
    global _store
    if not asked():
        yield
        return
    gpus, local = torch.cuda.device_count(), int(os.environ.get("LOCAL_RANK", "0"))
    if gpus:
        torch.cuda.set_device(local % gpus)
    enough = gpus >= int(os.environ.get("LOCAL_WORLD_SIZE", "1")) and dist.is_nccl_available()
    try:
        store, rank, world = next(rendezvous("env://", timeout=WAIT))
        backend = "cpu:gloo,cuda:nccl" if gpus and enough else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=WAIT)
    except (RuntimeError, ValueError) as error:
        raise SereneError(f"The processes of this training do not find each other: {first_line(error)}") from error
    _store = dist.PrefixStore("serene", store)  # pyright: ignore[reportPrivateImportUsage]
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        agree(lambda: {"serene": metadata.version("serene-ser"), "torch": torch.__version__})
        yield
        dist.destroy_process_group()
    except BaseException as error:
        if isinstance(error, Exception) and not _first_to_say():
            raise SystemExit(2) from None
        if isinstance(error, RuntimeError) and _lost(error):
            raise SereneError(f"{LOST} ({first_line(error)})") from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        _store = None


def asked() -> bool:
    """Say whether torchrun started this process beside others."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def _terminated(*_: object) -> None:
    raise SereneError(LOST)  # torchrun ends the others so where one has failed


def _first_to_say() -> bool:
    with contextlib.suppress(RuntimeError):  # whoever kept the store has gone
        return _store.compare_set("ended", "", str(dist.get_rank())).decode() == str(dist.get_rank())
    return True


def _lost(error: RuntimeError) -> bool:
    words = ("gloo", "NCCL", "Connection closed", "Connection reset", "timed out", "Timed out")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


def writes() -> bool:
    """Say whether this process writes files and tells people: the first does."""
    return not (dist.is_available() and dist.is_initialized()) or dist.get_rank() == 0


def first(make: Callable[[], Made]) -> Made:
    """Let the first process make something, by itself, and give it to all of them; the others wait, however long."""
    global _asked
    if across.processes() == 1:
        return make()
    _asked += 1
    made: list[Any] = [None]
    if writes():
        with across.apart():
            made = [make()]
        _store.set(f"made {_asked}", "")
    while not writes() and not _store.check([f"made {_asked}"]):
        if _store.check(["ended"]):
            raise SereneError(LOST)
        time.sleep(LOOK)
    dist.broadcast_object_list(made, 0)
    return made[0]


def held(path: Path) -> contextlib.AbstractContextManager[None]:
    """Lock a file or folder against processes of other trainings: the first one does, for all of this one's."""
    return locked(path) if writes() else contextlib.nullcontext()


def agree(facts: Callable[[], Mapping[str, str]]) -> None:
    """Make sure that what decides a training is the same for all processes; with one, nothing is looked at.

    Raises:
        SereneError: it is not; the message names the first process that differs, and in what.
    """
    others = across.gathered([facts()])[0] if across.processes() > 1 else []
    for number, other in enumerate(others):
        for what, value in others[0].items():
            if other[what] != value:
                raise SereneError(
                    f"Process {number} of {len(others)} has another {what} than the first: {other[what]}, and not "
                    f"{value}. Give all the same, and run again; nothing was trained."
                )


def check_share(batch_size: int | None) -> None:
    """Refuse more processes than a batch has clips."""
    if batch_size is not None and across.processes() > batch_size:
        raise SereneError(
            f"{across.processes()} processes cannot share batches of {batch_size} clips; start {batch_size} at most, "
            "or raise training.batch_size."
        )


def check_jobs(jobs: int | None) -> None:
    """Refuse trainings side by side, each of which would be of several processes."""
    if across.processes() > 1 and (jobs or 1) > 1:
        raise SereneError(
            f"--jobs {jobs} trains several folds side by side, and torchrun one fold on several processes; drop --jobs."
        )


def spread(model: EmotionModel, method: nn.Module, device: str, mode: Mode) -> EmotionModel:
    """Begin with the first process's weights; give the model to be trained, on its device.

    That is the model itself, or for `fsdp` one of which each process has its share of the encoder's blocks; what
    stands around these is small, and every process has all of it.
    """
    if across.processes() == 1:
        return model.to(device)
    for tensor in (*model.state_dict().values(), *method.state_dict().values()):
        dist.broadcast(tensor, 0)
    if mode == "ddp":
        return model.to(device)
    from torch.distributed.device_mesh import init_device_mesh  # these take a second to import
    from torch.distributed.fsdp import fully_shard

    trained, mesh = copy.deepcopy(model), init_device_mesh(device, (across.processes(),))
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)  # nobody writes into it
    for block in trained.encoder.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    return trained.to(device)


@torch.no_grad()
def take_up(trained: EmotionModel, model: EmotionModel, optimizers: Iterable[torch.optim.Optimizer]) -> None:
    """Give each process its share of a model's weights, and of what was kept of the optimisers."""
    known = model.state_dict()
    for name, tensor in trained.state_dict().items() if trained is not model else ():
        tensor.copy_(_like(tensor, known[name]))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["foreach"] = None if trained is model else False  # no sharded tensors beside others at once
        for parameter, state in optimizer.state.items():
            tensors = {name: value for name, value in state.items() if isinstance(value, Tensor) and value.ndim}
            state.update({name: _like(parameter, value) for name, value in tensors.items()})


def _is_shard(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")  # of a DTensor


def _like(tensor: Any, whole: Tensor) -> Tensor:
    if not _is_shard(tensor):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(tensor.device), tensor.device_mesh, tensor.placements)


@contextlib.contextmanager
@torch.no_grad()
def whole(trained: EmotionModel, model: EmotionModel) -> Iterator[None]:
    """Let the model, in every process, hold all that was trained; what a shard stands for leaves the device again."""
    for buffer in trained.buffers() if across.processes() > 1 else ():
        dist.broadcast(buffer, 0)
    if trained is model:
        yield
        return
    known = model.state_dict()
    for name, tensor in trained.state_dict().items():
        known[name].copy_(tensor.full_tensor() if _is_shard(tensor) else tensor)
    model.to(next(trained.parameters()).device)
    yield
    model.cpu()


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Give an optimiser's whole state, to be taken up by any number of processes; of shards, the first has it."""
    kept = optimizer.state_dict()
    states = {place: {n: _whole(value) for n, value in own.items()} for place, own in kept["state"].items()}
    return {**kept, "state": states}


def _whole(value: Any) -> Any:
    if not _is_shard(value):
        return value
    made = value.full_tensor()
    return made.cpu() if writes() else made[:0]


@torch.no_grad()
def add_up(parameters: Sequence[nn.Parameter]) -> None:
    """Sum the gradients of some parameters over the processes, as DistributedDataParallel does.

    That works by hooks on a module's `forward`; methods call a model's seams, and an update moves some parameters of
    several. Shards have been reduced by FSDP already, to their mean.
    """
    if across.processes() == 1:
        return
    shards, others = _gradients(parameters)
    for shard in shards:
        shard.mul_(across.processes())
    for begin in range(0, len(others), TOGETHER):
        some = others[begin : begin + TOGETHER]
        total = torch.cat([gradient.flatten() for gradient in some])
        dist.all_reduce(total)
        for gradient, part in zip(some, total.split([g.numel() for g in some]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _gradients(parameters: Sequence[nn.Parameter]) -> tuple[list[Tensor], list[Tensor]]:
    """Give each gradient once: those of which this process has its shards, and those that it has whole."""
    found: list[Any] = list({id(p): p.grad for p in parameters if p.grad is not None}.values())
    return [g.to_local() for g in found if _is_shard(g)], [g for g in found if not _is_shard(g)]


@torch.no_grad()
def clip(parameters: Sequence[nn.Parameter], limit: float) -> float:
    """Scale gradients down to a Euclidean norm over all of them; return what it was before."""
    shards, others = _gradients(parameters)
    if not shards:
        return nn.utils.clip_grad_norm_(parameters, limit).item()
    squares = across.summed(torch.stack([g.square().sum() for g in shards]).sum())
    norm = (squares + sum(g.square().sum() for g in others)).sqrt().item()
    for gradient in (*shards, *others):
        gradient.mul_(min(1.0, limit / (norm + 1e-6)))
    return norm
