"""What UniAVGen's exchange costs: FLOPs and time against the length of the clip, and projecting before blending.

``python benchmarks/exchange_cost.py`` takes about a minute on one core. Counted FLOPs are those of the published sizes
(on tensors without values, so nothing is computed); times are those of a narrow exchange on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from phonofilm.architectures.uniavgen import A2VAligner, DualBranch, InteractionLayer, PairedLayer, V2AAligner, in_space
from phonofilm.diffusion.tokens import positions
from phonofilm.network.alignment import Ramp
from phonofilm.network.blocks import Hidden
from phonofilm.network.context import without_positions
from phonofilm.network.layers import CrossAttention, Rope, attend, rope, rotate
from phonofilm.network.ports import StreamConfig, WanTime
from phonofilm.recipes.uniavgen import seconds_interaction, uniavgen_paper_stage2
from phonofilm.types import Grid

LENGTHS = (2, 4, 8, 16, 32)


def grids(seconds: float, rows: int, columns: int) -> tuple[Grid, Grid]:
    """16 pixel frames and 100 mel frames a second."""
    return Grid(1 + round(seconds * 4), rows, columns, 1 / 16, 1 / 4), Grid(round(seconds * 100), 1, 1, 0.01, 0.01)


def hidden(grid: Grid, width: int) -> Hidden:
    pos, head = positions(grid)[None], Rope(sizes=(44, 42, 42))
    return Hidden(
        x=torch.zeros(1, grid.tokens, width).normal_(),
        time=torch.zeros(1, 2, 7 * width),
        given=torch.zeros(1, grid.tokens, dtype=torch.bool),
        rotation=rope(pos, head),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.zeros(1, 0, width), None),
    )


def exchange(layer: InteractionLayer, video: Hidden, audio: Hidden) -> None:
    face = layer.face(video)
    layer.a2v(video, audio, face)
    layer.v2a(audio, video, face)


def blend_first(reader: V2AAligner, audio: Hidden, video: Hidden, face: Tensor) -> Tensor:
    """As the release does it: a picture for every audio token, then keys and values of each."""
    p, grid = reader.projection, video.grid
    frames = (video.x * face.unsqueeze(-1)).unflatten(1, (grid.frames, -1))
    seen = Ramp()(grid, audio.grid)
    index = torch.tensor([one.frames for one in seen], device=frames.device)
    weight = torch.tensor([one.weights for one in seen], device=frames.device)[..., None, None]
    pictures = (frames[:, index[:, 0]] * weight[:, 0] + frames[:, index[:, 1]] * weight[:, 1]).flatten(0, 1)
    k = rotate(p.keys(pictures), in_space(grid, reader.interaction.space, frames.device))
    saw = attend(p.queries(audio.x).transpose(0, 1), k.to(pictures.dtype), p.values(pictures))
    return reader.out(saw.transpose(0, 1))


def flops(call: Callable[[], object]) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # matrix products, all counted
        call()
    return counter.get_total_flops()


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """The shortest of some runs."""
    call()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def narrow(width: int) -> DualBranch:
    interaction = seconds_interaction()
    head = Rope(sizes=(16, 8, 8))
    stream = StreamConfig(channels=4, width=width, heads=width // 32, mlp=32, rope=head, time=WanTime())
    return DualBranch(
        video=stream,
        audio=stream,
        layers=(InteractionLayer,),
        interaction=replace(interaction, space=head, place=replace(head, scale=(100.0, 1.0, 1.0))),
    )


def lengths() -> None:
    """FLOPs and time of one exchange, which grow like the clip."""
    paper, small = uniavgen_paper_stage2().model, InteractionLayer(narrow(64), CrossAttention, 0)
    print("| seconds | TFLOPs, published size | per second | ms, width 64, 8 x 8 tokens | per second |")
    print("|---|---|---|---|---|")
    for length in LENGTHS:
        with FakeTensorMode():
            layer, (video, audio) = InteractionLayer(paper, CrossAttention, 0), grids(length, 23, 23)
            streams = hidden(video, 3072), hidden(audio, 1536)
            count = flops(lambda c=layer, s=streams: exchange(c, *s)) / 1e12
        video, audio = grids(length, 8, 8)
        streams = hidden(video, 64), hidden(audio, 64)
        spent = 1e3 * seconds(lambda s=streams: exchange(small, *s))
        print(f"| {length} | {count:.3f} | {count / length:.3f} | {spent:.1f} | {spent / length:.2f} |")


def projecting() -> None:
    """FLOPs of V2A at a size that the release offers, and of the whole forward with the towers."""
    paper, sizes = uniavgen_paper_stage2().model, grids(5.0625, 23, 35)
    reader, layer = V2AAligner(paper.audio, 3072, paper.interaction), PairedLayer(paper, CrossAttention, 0)
    video, audio = hidden(sizes[0], 3072), hidden(sizes[1], 1536)
    face = torch.ones(1, sizes[0].tokens)
    ours = flops(lambda: reader(audio, video, face)) / 1e12
    theirs = flops(lambda: blend_first(reader, audio, video, face)) / 1e12
    heard = flops(lambda: A2VAligner(paper.video, 1536, paper.interaction)(video, audio, face)) / 1e12
    towers = 30 * sum(
        flops(lambda t=t, s=s: t.feed_forward(t.self_attention(s)))
        for t, s in ((layer.video, video), (layer.audio, audio))
    )
    rest = towers / 1e12 + 15 * heard
    print(f"\nV2A at 1120 x 736, {sizes[1].frames} mel frames, counted:")
    print(f"{ours:.3f} TFLOPs projected first, {theirs:.3f} blended first: {theirs / ours:.1f} times")
    print(f"all else {rest:.1f} TFLOPs: the whole forward {(rest + 15 * theirs) / (rest + 15 * ours):.2f} times")


def timing() -> None:
    """Both orders at a width that this machine can bear."""
    reader = V2AAligner(narrow(256).audio, 512, narrow(256).interaction)
    sizes = grids(5.0625, 8, 12)
    video, audio = hidden(sizes[0], 512), hidden(sizes[1], 256)
    face = torch.ones(1, sizes[0].tokens)
    one, other = seconds(lambda: reader(audio, video, face)), seconds(lambda: blend_first(reader, audio, video, face))
    gap = (reader(audio, video, face).x - audio.x - blend_first(reader, audio, video, face)).abs().max().item()
    print(f"timed at widths 512 and 256, 8 x 12 tokens a frame: {one:.3f} s and {other:.3f} s, {other / one:.1f} times")
    print(f"largest difference {gap:.1e}")


@torch.no_grad()
def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    lengths()
    with FakeTensorMode():
        projecting()
    timing()


if __name__ == "__main__":
    main()
