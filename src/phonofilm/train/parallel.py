"""One process or many: who is there, and how a backbone is spread over them from outside, block by block.

The order is torchtitan's: recomputation of blocks, compilation of blocks, sharding of blocks, sharding of the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from phonofilm.errors import UserError
from phonofilm.network.backbone import Backbone
from phonofilm.recipes.experiment import Train

T = TypeVar("T")
ARITHMETICS = ("auto", "bfloat16", "float32")


@dataclass(frozen=True)
class World:
    """This process among all."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the main process (rank 0), which prints, logs and renames folders."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: T) -> T:
        """What the first process gives here, for all."""
        box = [value]
        if self.size > 1:
            dist.broadcast_object_list(box)
        return box[0]

    def gather(self, value: T) -> list[T]:
        """What each process gives here, for all, in the order of their ranks."""
        box = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(box, value)
        return box

    def mean(self, values: Tensor) -> Tensor:
        """Mean of a small tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(values)
            values = values / self.size
        return values


@contextmanager
def world(device: str = "", *, patience: timedelta | None = None) -> Iterator[World]:
    """The processes that torchrun started, or this one alone; the device is a GPU where there is one.

    A world inside another is the same one: processes cannot meet a second time. ``patience`` is how long they wait
    for each other, torch's minutes if not given.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    else:
        place = torch.device(kind)
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    inside = dist.is_initialized()
    if not inside and size > 1:
        dist.init_process_group(backend, timeout=patience)
    elif not inside:
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    try:
        yield World(rank, size, place)
    finally:
        if not inside:
            dist.destroy_process_group()


def parallelize(backbone: Backbone, train: Train, world: World) -> None:
    """Prepare a backbone in place: recompute, compile and share out its blocks as ``train`` says."""
    for block in backbone.blocks:
        if train.checkpointing:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if train.compile:
            block.compile(fullgraph=True, dynamic=False)
    if world.size > 1 and train.parallel == "shard":
        mesh = init_device_mesh(world.device.type, (world.size,))
        policy = precision(train, world.device)
        for block in backbone.blocks:
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(backbone, mesh=mesh, mp_policy=policy)
    elif train.parallel not in ("shard", "replicate"):
        raise UserError(f"unknown way to be parallel {train.parallel!r}: shard or replicate")


def uses_bfloat16(train: Train, device: torch.device) -> bool:
    """Whether matrix products take bfloat16. Raises ``UserError`` for an unknown choice in the recipe."""
    if train.arithmetic not in ARITHMETICS:
        raise UserError(f"unknown arithmetic {train.arithmetic!r}: {', '.join(ARITHMETICS)}")
    if train.arithmetic == "auto":
        return device.type != "cpu" or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return train.arithmetic == "bfloat16"


def precision(train: Train, device: torch.device) -> MixedPrecisionPolicy:
    """What sharded weights become for matrix products; inputs keep their types, since seconds must stay float32."""
    # On a CPU autocast alone does it: gloo sums no bfloat16.
    if device.type == "cpu" or not uses_bfloat16(train, device):
        return MixedPrecisionPolicy(cast_forward_inputs=False)
    return MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False, output_dtype=torch.float32
    )


def arithmetic(train: Train, device: torch.device) -> AbstractContextManager:
    """The type of matrix products in the forward pass, and with it in the backward pass."""
    return torch.autocast(device.type, torch.bfloat16) if uses_bfloat16(train, device) else nullcontext()


def share_gradients(backbone: nn.Module, world: World) -> None:
    """Mean of all gradients over processes that hold whole copies; sharded backbones do this in the backward pass.

    Parameters that the step did not use get zeros: FSDP2 hands zeros to some of them, and AdamW would pass over those
    without a gradient, so that steps would depend on the number of processes.
    """
    for parameter in backbone.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if world.size == 1 or isinstance(backbone, FSDPModule):
        return
    gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
    flat = world.mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients])):
        gradient.copy_(part.view_as(gradient))


def exchange(backbone: nn.Module, *, now: bool) -> None:
    """Whether the next backward pass of a sharded backbone exchanges gradients: in the last accumulation round."""
    if isinstance(backbone, FSDPModule):
        backbone.set_requires_gradient_sync(now)
