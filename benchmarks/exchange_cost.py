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

from phonofilm.alignment import Ramp
from phonofilm.architectures.uniavgen import Layer, MeetingLayer, PictureReader, SoundReader, Towers, in_space
from phonofilm.backbone import TowerConfig
from phonofilm.blocks import Hidden
from phonofilm.context import unplaced
from phonofilm.layers import Reader, Rope, attend, rope, rotate
from phonofilm.recipes.uniavgen import seconds_meeting, uniavgen_paper_stage2
from phonofilm.tokens import positions
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
        ctx=unplaced(torch.zeros(1, 0, width), None),
    )


def exchange(layer: MeetingLayer, video: Hidden, audio: Hidden) -> None:
    face = layer.face(video)
    layer.a2v(video, audio, face)
    layer.v2a(audio, video, face)


def blend_first(reader: PictureReader, audio: Hidden, video: Hidden, face: Tensor) -> Tensor:
    """As the release does it: a picture for every audio token, then keys and values of each."""
    p, grid = reader.projection, video.grid
    frames = (video.x * face.unsqueeze(-1)).unflatten(1, (grid.frames, -1))
    seen = Ramp()(grid, audio.grid)
    index = torch.tensor([one.frames for one in seen], device=frames.device)
    weight = torch.tensor([one.weights for one in seen], device=frames.device)[..., None, None]
    pictures = (frames[:, index[:, 0]] * weight[:, 0] + frames[:, index[:, 1]] * weight[:, 1]).flatten(0, 1)
    k = rotate(p.keys(pictures), in_space(grid, reader.meeting.space, frames.device))
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


def narrow(width: int) -> Towers:
    meeting = seconds_meeting()
    head = Rope(sizes=(16, 8, 8))
    stream = {"heads": width // 32, "mlp": 32, "rope": head}
    return Towers(
        video=TowerConfig(channels=4, width=width, **stream),
        audio=TowerConfig(channels=4, width=width, **stream),
        layers=(MeetingLayer,),
        meeting=replace(meeting, space=head, place=replace(head, scale=(100.0, 1.0, 1.0))),
    )


def lengths() -> None:
    """FLOPs and time of one exchange, which grow like the clip."""
    paper, small = uniavgen_paper_stage2().model, MeetingLayer(narrow(64), Reader, 0)
    print("| seconds | TFLOPs, published size | per second | ms, width 64, 8 x 8 tokens | per second |")
    print("|---|---|---|---|---|")
    for length in LENGTHS:
        with FakeTensorMode():
            layer, (video, audio) = MeetingLayer(paper, Reader, 0), grids(length, 23, 23)
            streams = hidden(video, 3072), hidden(audio, 1536)
            count = flops(lambda c=layer, s=streams: exchange(c, *s)) / 1e12
        video, audio = grids(length, 8, 8)
        streams = hidden(video, 64), hidden(audio, 64)
        spent = 1e3 * seconds(lambda s=streams: exchange(small, *s))
        print(f"| {length} | {count:.3f} | {count / length:.3f} | {spent:.1f} | {spent / length:.2f} |")


def projecting() -> None:
    """FLOPs of V2A at a size that the release offers, and of the whole forward with the towers."""
    paper, sizes = uniavgen_paper_stage2().model, grids(5.0625, 23, 35)
    reader, layer = PictureReader(paper.audio, 3072, paper.meeting), Layer(paper, Reader, 0)
    video, audio = hidden(sizes[0], 3072), hidden(sizes[1], 1536)
    face = torch.ones(1, sizes[0].tokens)
    ours = flops(lambda: reader(audio, video, face)) / 1e12
    theirs = flops(lambda: blend_first(reader, audio, video, face)) / 1e12
    heard = flops(lambda: SoundReader(paper.video, 1536, paper.meeting)(video, audio, face)) / 1e12
    towers = 30 * sum(
        flops(lambda t=t, s=s: t.think(t.look(s))) for t, s in ((layer.video, video), (layer.audio, audio))
    )
    rest = towers / 1e12 + 15 * heard
    print(f"\nV2A at 1120 x 736, {sizes[1].frames} mel frames, counted:")
    print(f"{ours:.3f} TFLOPs projected first, {theirs:.3f} blended first: {theirs / ours:.1f} times")
    print(f"all else {rest:.1f} TFLOPs: the whole forward {(rest + 15 * theirs) / (rest + 15 * ours):.2f} times")


def timing() -> None:
    """Both orders at a width that this machine can bear."""
    reader = PictureReader(narrow(256).audio, 512, narrow(256).meeting)
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
