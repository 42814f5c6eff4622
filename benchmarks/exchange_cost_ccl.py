"""What CCL's exchange costs against the length of the clip: FLOPs and time, in windows and without.

``python benchmarks/exchange_cost_ccl.py`` takes about a minute on one core. Counted FLOPs are those of one layer of the
published size (on the meta device, so nothing is computed); times are those of a narrow exchange on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from phonofilm.architectures.ccl import CCLBlock, Group, QueryGroups, groups_of
from phonofilm.diffusion.tokens import positions
from phonofilm.network.blocks import Hidden
from phonofilm.network.context import without_positions
from phonofilm.network.layers import Rope, rope
from phonofilm.recipes.ccl import ccl_paper, model
from phonofilm.types import Grid

LENGTHS = (2, 4, 8, 16, 32)


def grids(seconds: float, rows: int, columns: int) -> tuple[Grid, Grid]:
    """Wan at 16 pixel frames a second, sound at 31.25 tokens a second."""
    return (
        Grid(1 + round(seconds * 4), rows, columns, 1 / 16, 1 / 4),
        Grid(round(seconds * 31.25) + 2, 1, 1, 0.032, 0.032),
    )


def hidden(grid: Grid, width: int, device: str) -> Hidden:
    pos = positions(grid)[None].to(device)
    return Hidden(
        x=torch.zeros(1, grid.tokens, width, device=device).normal_(),
        time=torch.zeros(1, 2, 7 * width, device=device),
        given=torch.zeros(1, grid.tokens, dtype=torch.bool, device=device),
        rotation=rope(pos, Rope(sizes=(2, 2, 2))),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.zeros(1, 0, width, device=device), None),
    )


def exchange(block: CCLBlock, video: Hidden, audio: Hidden) -> None:
    a2v, v2a = groups_of(block.partition, video.grid, audio.grid, video.x.device)
    block.video_context(video, audio, a2v)
    block.audio_context(audio, video, v2a)


def exchange_without_windows(block: CCLBlock, video: Hidden, audio: Hidden) -> None:
    """Everybody reads everything: one group of all queries and all keys."""
    both = [torch.arange(stream.grid.tokens, device=stream.x.device) for stream in (video, audio)]
    for reader, own, other, mine, theirs in (
        (block.video_context, video, audio, *both),
        (block.audio_context, audio, video, *reversed(both)),
    ):
        reader(own, other, QueryGroups((Group(mine[None], theirs[None]),), mine))


def flops(call: Callable[[], object]) -> tuple[float, float]:
    """TFLOPs of all, and of attention alone (without its projections)."""
    with FlopCounterMode(display=False) as counter:
        call()
    counts = counter.get_flop_counts()["Global"]
    projections = sum(n for op, n in counts.items() if op in (torch.ops.aten.mm, torch.ops.aten.addmm))
    return sum(counts.values()) / 1e12, (sum(counts.values()) - projections) / 1e12


def milliseconds(call: Callable[[], object], times: int = 3) -> float:
    """Time of the processor, the shortest of some runs: other work on the machine does not count."""
    call()
    found = []
    for _ in range(times):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return 1e3 * min(found)


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.device("meta"):
        paper = CCLBlock(ccl_paper().model).requires_grad_(False)
    small = CCLBlock(model(heads=(2, 1), head=32, mlp=4, num_blocks=1)).requires_grad_(False)
    print("One layer, both directions; published size (TFLOPs), then widths 64 and 32 with 8 x 8 tokens (ms)")
    print("| seconds | exchange | per second | its attention | per second | the same, no windows | ms | per second |")
    print("|---|---|---|---|---|---|---|---|")
    for length in LENGTHS:
        video, audio = grids(length, 22, 40)
        streams = hidden(video, 5120, "meta"), hidden(audio, 1536, "meta")
        whole, attention = flops(lambda s=streams: exchange(paper, *s))
        _, dense = flops(lambda s=streams: exchange_without_windows(paper, *s))
        video, audio = grids(length, 8, 8)
        narrow = hidden(video, 64, "cpu"), hidden(audio, 32, "cpu")
        spent = milliseconds(lambda s=narrow: exchange(small, *s))
        print(
            f"| {length} | {whole:.3f} | {whole / length:.3f} | {attention:.4f} | {attention / length:.5f} "
            f"| {dense:.4f} | {spent:.1f} | {spent / length:.2f} |"
        )


if __name__ == "__main__":
    main()
