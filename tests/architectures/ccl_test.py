"""CCL's own promises: windows on the clock, context tokens, references left in peace, four forms of guidance."""

import re
from dataclasses import replace

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from phonofilm.architectures.ccl import (
    CCL,
    CrossModalContextAttention,
    TARPWindows,
    WholeTokenWindows,
    a2v_groups,
    v2a_groups,
)
from phonofilm.checkpoints.importing import renamed
from phonofilm.diffusion import tasks
from phonofilm.diffusion.tasks import Pair, compose
from phonofilm.network.blocks import Hidden
from phonofilm.network.context import ByteText, TowerText, without_positions
from phonofilm.network.layers import CrossAttention, Rope, RotaryCrossAttention, rope, rotate
from phonofilm.network.ports import StreamConfig, WanTime
from phonofilm.recipes import ccl, jova
from phonofilm.recipes import wan_names as wan
from phonofilm.types import CENTRE, CLOSED, Grid, Layout, Links, Tokens

ROPE = Rope(sizes=(4, 2, 2))
NUMBERS = CCL(
    video=StreamConfig(width=16, heads=2, mlp=24, channels=3, rope=ROPE, time=WanTime()),
    audio=StreamConfig(width=8, heads=1, mlp=12, channels=2, rope=ROPE, time=WanTime()),
    text=TowerText(video=("text", 5), audio=("text", 5)),
    text_attention=CrossAttention,
    num_blocks=2,
    num_context=3,
    rate=6.0,
)
VIDEO, AUDIO = Grid(4, 2, 1, 1 / 24, 4 / 24), Grid(17, 1, 1, 0.032, 0.032)
LAYOUT = Layout(VIDEO, AUDIO)
CPU = torch.device("cpu")
PARTITIONS = [TARPWindows(), WholeTokenWindows(), TARPWindows(num_frames=1.5)]


def sixteen(frames, tokens, rate):
    """Grids of Wan at 16 fps and of sound at so many tokens a second."""
    return Grid(frames, 1, 1, 1 / 16, 4 / 16), Grid(tokens, 1, 1, 1 / rate, 1 / rate)


def random(network, seed=0):
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def made(task=tasks.T2AV, layout=LAYOUT, sigma=0.6, seed=1):
    g = torch.Generator().manual_seed(seed)
    sizes = ((layout.video.tokens + layout.video_refs, 3), (layout.audio.tokens + layout.audio_refs, 2))
    clean, noise = (Pair(*(torch.randn(2, *size, generator=g) for size in sizes)) for _ in range(2))
    text = Tokens(x=torch.randn(2, 4, 5, generator=g), mask=torch.ones(2, 4, dtype=torch.bool))
    level = torch.full((2,), sigma)
    return compose(task, layout, clean, noise, Pair(level, level), {"text": text})


def hidden(grid, width, seed, refs=0):
    g = torch.Generator().manual_seed(seed)
    count = grid.tokens + refs
    seconds = CENTRE.seconds(grid, grid.frames).repeat_interleave(grid.rows * grid.columns)
    given = torch.zeros(2, count, dtype=torch.bool)
    given[:, grid.tokens :] = True
    pos = F.pad(F.pad(seconds, (0, refs), value=-1.0).expand(2, -1).unsqueeze(-1), (0, 2))
    return Hidden(
        x=torch.randn(2, count, width, generator=g),
        time=torch.zeros(2, 2, 7 * width),
        given=given,
        rotation=rope(pos, ROPE),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.zeros(2, 0, width), torch.zeros(2, 0, dtype=torch.bool)),
    )


def attention(num_context=3):
    """A video stream that reads audio."""
    return random(CrossModalContextAttention(NUMBERS.video, NUMBERS.audio, num_context, NUMBERS.shared(NUMBERS.video)))


# Windows


def pairs(windows):
    """Queries and keys of every window, in the order of the queries."""
    return sorted(pair for group in windows.groups for pair in zip(group.queries.tolist(), group.keys.tolist()))


@pytest.mark.parametrize(
    ("frames", "tokens", "rate", "error"), [(21, 158, 31.25, 10.7), (21, 127, 25, 0.5), (37, 152, 16.5, 3.4)]
)
def test_floored_centres_drift_and_real_ones_do_not(frames, tokens, rate, error):
    video, audio = sixteen(frames, tokens, rate)
    even = (torch.arange(frames) + 0.5) * tokens / frames - 0.5
    assert float((even - WholeTokenWindows().centres(video, audio)).abs().max()) == pytest.approx(error, abs=0.05)
    found = TARPWindows().centres(video, audio)
    seconds = CENTRE.seconds(video, frames).double()
    inside = seconds < audio.seconds
    assert (found + 0.5).mul(audio.step)[inside].tolist() == pytest.approx(seconds[inside].tolist(), abs=1e-5)


def test_floored_windows_lose_the_last_tokens_and_real_ones_none():
    video, audio = sixteen(21, 158, 31.25)
    even = (torch.arange(21) + 0.5) * 158 / 21 - 0.5
    for partition, unseen, missed in ((WholeTokenWindows(), [154, 155, 156, 157], [20]), (TARPWindows(), [], [])):
        rows = [keys for _, keys in pairs(a2v_groups(partition, video, audio, CPU))]
        assert sorted(set(range(158)) - {key for row in rows for key in row}) == unseen
        own = even if isinstance(partition, WholeTokenWindows) else partition.centres(video, audio)
        out = [i for i, row in enumerate(rows) if not min(row) - 0.5 <= own[i] <= max(row) + 0.5]
        assert out == missed
    drift = float(even[20] - WholeTokenWindows().centres(video, audio)[20]) / 31.25
    assert drift == pytest.approx(0.34, abs=0.005)


def test_even_spacing_is_a_sixth_of_a_second_late_at_frame_1():
    """Why seconds and not shares of the clip: the first frame of a causal codec is short."""
    video, audio = sixteen(21, 158, 31.25)
    real = (TARPWindows().centres(video, audio) + 0.5) / 31.25
    late = (torch.arange(21) + 0.5) * video.seconds / 21 - real
    assert int(late.abs().argmax()) == 1
    assert float(late[1]) == pytest.approx(1.5 * 81 / 16 / 21 - 3 / 16, abs=1e-6)


@pytest.mark.parametrize("grids", [(VIDEO, AUDIO), sixteen(21, 158, 31.25), sixteen(5, 60, 31.25)])
def test_real_windows_are_the_nearest_tokens_and_the_frame_shown(grids):
    video, audio = grids
    middles = CENTRE.seconds(video, video.frames).double()
    heard = (torch.arange(-50, audio.frames + 50) + 0.5) * audio.step
    rows = [keys for _, keys in pairs(a2v_groups(TARPWindows(), video, audio, CPU))]
    width = max(map(len, rows))
    assert width * audio.step >= 3 * video.step > (width - 1) * audio.step
    for middle, row in zip(middles, rows):
        near = (heard - min(float(middle), float(heard[audio.frames + 49]))).abs().topk(width, largest=False)
        nearest = set((near.indices - 50).tolist()) & set(range(audio.frames))
        assert len(set(row) ^ nearest) <= 2  # two tokens may be equally near
        assert max(abs(float(heard[j + 50] - middle)) for j in row) <= float(near.values.max()) + 1e-4
    ends = torch.cat((torch.zeros(1), video.first + video.step * torch.arange(video.frames)))
    ends[-1] = 1e9
    shown = [int((heard[j + 50] >= ends).sum()) - 1 for j in range(audio.frames)]
    assert TARPWindows().frames(video, audio).tolist() == shown


def test_floored_windows_are_the_rule():
    video, audio = sixteen(21, 158, 31.25)
    for i, (_, keys) in enumerate(pairs(a2v_groups(WholeTokenWindows(), video, audio, CPU))):
        assert keys == [j for j in range(3 + 7 * i - 10, 3 + 7 * i + 11) if 0 <= j < 158]
    assert WholeTokenWindows().frames(video, audio).tolist() == [min(20, j * 21 // 158) for j in range(158)]
    with pytest.raises(ValueError, match="3 audio tokens for 21 video frames"):
        a2v_groups(WholeTokenWindows(), video, audio._replace(frames=3), CPU)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_query_has_its_place(partition):
    for windows, count in (
        (a2v_groups(partition, VIDEO, AUDIO, CPU), VIDEO.tokens),
        (v2a_groups(partition, VIDEO, AUDIO, CPU), AUDIO.tokens),
    ):
        asking = torch.cat([group.queries.flatten() for group in windows.groups])
        assert asking[windows.back].tolist() == list(range(count))
        assert len({group.keys.shape[1] for group in windows.groups}) == len(windows.groups)
    frames = v2a_groups(partition, VIDEO, AUDIO, CPU)
    row = frames.back // frames.groups[0].queries.shape[1]
    assert row.tolist() == partition.frames(VIDEO, AUDIO).tolist()


# Context attention


def dense(network, own, other, allowed):
    """The same by one attention over all keys with a mask."""
    p = network.projection
    q = rotate(p.queries(network.norm_own(own.x)), network._rotation(own.seconds))
    x = network.norm_other(other.x)
    k, v = rotate(p.keys(x), network._rotation(other.seconds)), p.values(x)
    context = (p.norm_k(network.context[0]), network.context[1])
    k, v = (
        torch.cat((c.unflatten(-1, (p.heads, -1)).expand(2, -1, -1, -1), part), 1) for c, part in zip(context, (k, v))
    )
    mask = F.pad(allowed, (context[0].shape[0], 0), value=True)
    read = F.scaled_dot_product_attention(*(part.transpose(1, 2) for part in (q, k, v)), attn_mask=mask)
    return own.x + network.out(read.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("num_context", [0, 3])
@pytest.mark.parametrize("partition", PARTITIONS)
def test_regrouped_attention_is_dense_attention_with_a_mask(partition, num_context):
    video, audio = hidden(VIDEO, 16, 1), hidden(AUDIO, 8, 2)
    heard = a2v_groups(partition, VIDEO, AUDIO, CPU)
    allowed = torch.zeros(VIDEO.tokens, AUDIO.tokens, dtype=torch.bool)
    for queries, keys in pairs(heard):
        allowed[torch.tensor(queries)[:, None], keys] = True
    reader = attention(num_context)
    torch.testing.assert_close(
        reader(video, audio, heard).x, dense(reader, video, audio, allowed), rtol=1e-5, atol=1e-5
    )
    own = torch.arange(VIDEO.tokens) // 2
    allowed = partition.frames(VIDEO, AUDIO)[:, None] == own
    reader = random(
        CrossModalContextAttention(NUMBERS.audio, NUMBERS.video, num_context, NUMBERS.shared(NUMBERS.audio))
    )
    found = reader(audio, video, v2a_groups(partition, VIDEO, AUDIO, CPU)).x
    torch.testing.assert_close(found, dense(reader, audio, video, allowed), rtol=1e-5, atol=1e-5)


def test_a_closed_link_reads_the_context_tokens_alone():
    video, audio = hidden(VIDEO, 16, 1), hidden(AUDIO, 8, 2)
    reader = attention()
    nobody = torch.zeros(VIDEO.tokens, AUDIO.tokens, dtype=torch.bool)
    torch.testing.assert_close(reader(video, audio, None).x, dense(reader, video, audio, nobody), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(reader(video, audio, None).x, video.x, atol=1e-2)


def test_without_context_tokens_a_closed_link_adds_nothing():
    video = hidden(VIDEO, 16, 1)
    assert torch.equal(attention(0)(video, hidden(AUDIO, 8, 2), None).x, video.x)


def test_both_streams_share_one_clock():
    """Without context tokens, which stand nowhere, only the distance in time between the streams counts."""
    video, audio = hidden(VIDEO, 16, 1), hidden(AUDIO, 8, 2)
    reader, windows = attention(0), a2v_groups(TARPWindows(), VIDEO, AUDIO, CPU)
    plain = reader(video, audio, windows).x
    later, heard = (replace(stream, seconds=stream.seconds + 0.7) for stream in (video, audio))
    torch.testing.assert_close(reader(later, heard, windows).x, plain, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(reader(later, audio, windows).x, plain, atol=1e-2)


def test_references_read_the_context_tokens_and_are_not_read():
    video, audio = hidden(VIDEO, 16, 1, refs=2), hidden(AUDIO, 8, 2, refs=3)
    reader, windows = attention(), a2v_groups(TARPWindows(), VIDEO, AUDIO, CPU)
    found, alone = reader(video, audio, windows).x, reader(video, audio, None).x
    assert torch.equal(found[:, VIDEO.tokens :], alone[:, VIDEO.tokens :])
    assert not torch.isclose(found[:, : VIDEO.tokens], alone[:, : VIDEO.tokens]).all(dim=-1).any()
    marred = replace(audio, x=torch.cat((audio.x[:, : AUDIO.tokens], audio.x[:, AUDIO.tokens :] + 9), dim=1))
    assert torch.equal(reader(video, marred, windows).x, found)


def test_cost_is_linear_in_the_length():
    """Twice as many frames more cost twice as much more, whatever the length; attention to everything would not."""
    costs = []
    for frames in (5, 9, 17, 33):
        video, audio = Grid(frames, 2, 1, 1 / 16, 1 / 4), Grid(8 * frames, 1, 1, 1 / 32, 1 / 32)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            attention().requires_grad_(False)(
                hidden(video, 16, 1), hidden(audio, 8, 2), a2v_groups(TARPWindows(), video, audio, CPU)
            )
        costs.append(counter.get_total_flops())
    assert 4 * (costs[1] - costs[0]) == 2 * (costs[2] - costs[1]) == costs[3] - costs[2] > 0


# The network


def test_fresh_towers_are_not_disturbed():
    backbone = NUMBERS.build()
    torch.nn.init.normal_(backbone.video.leave_x.weight)
    input = made()
    assert torch.equal(backbone(input).video, backbone(replace(input, links=CLOSED)).video)


@pytest.mark.parametrize(
    ("task", "given", "closed"), [("A2V", "audio", Links(v2a=False)), ("V2A", "video", Links(a2v=False))]
)
def test_a_reference_stream_is_that_of_its_own_pass(task, given, closed):
    """Clean streams read nobody: the same with the partner gone, and whether or not the task says so by its links."""
    backbone = random(NUMBERS.build())
    input = made(getattr(tasks, task))
    output = backbone(input)
    other = "video" if given == "audio" else "audio"
    empty = getattr(input, other)
    empty = replace(empty, x=empty.x[:, :0], given=empty.given[:, :0], pos=empty.pos[:, :0], beside=empty.beside[:, :0])
    alone = backbone(replace(input, **{other: replace(empty, grid=empty.grid._replace(frames=0))}, links=CLOSED))
    torch.testing.assert_close(getattr(output, given), getattr(alone, given), rtol=1e-5, atol=1e-5)
    routed = made(getattr(ccl, task))
    assert routed.links == closed
    assert torch.equal(backbone(routed).video, output.video)
    assert torch.equal(backbone(routed).audio, output.audio)
    assert not torch.allclose(getattr(output, other), getattr(backbone(replace(input, links=CLOSED)), other), atol=1e-3)


@pytest.mark.parametrize(("task", "given", "made_of"), [("A2V", "audio", "video"), ("V2A", "video", "audio")])
def test_no_gradient_reaches_a_reference_stream(task, given, made_of):
    backbone = random(NUMBERS.build())
    getattr(backbone(made(getattr(tasks, task))), made_of).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        of_given = any(part in (given, f"{given}_context") for part in name.split("."))
        touched = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert not (of_given and touched), name
    assert backbone.blocks[0].get_submodule(f"{made_of}_context").projection.k.weight.grad.abs().sum() > 0


def test_a_given_frame_teaches_nobody_and_learns_nothing():
    """Per token: an image as first frame is read by the sound of its time, without a gradient, and reads no sound."""
    backbone = random(NUMBERS.build())
    block, input = backbone.blocks[0], made(tasks.I2AV)
    video = backbone.video.enter(input.video, backbone.context(input)[0])
    audio = backbone.audio.enter(input.audio, backbone.context(input)[1])
    x = video.x.detach().requires_grad_(True)
    read = block.audio_context(audio, replace(video, x=x), v2a_groups(TARPWindows(), VIDEO, AUDIO, CPU))
    read.x.sum().backward()
    assert (x.grad.abs().sum(dim=-1) > 0).tolist() == (~input.video.given).tolist()
    windows = a2v_groups(TARPWindows(), VIDEO, AUDIO, CPU)
    found, alone = block.video_context(video, audio, windows).x, block.video_context(video, audio, None).x
    assert torch.equal((found == alone).all(dim=-1), input.video.given)


def test_unequal_positions_and_negative_counts_are_refused():
    text = ByteText(characters=9, space=1, inner=8)
    with pytest.raises(ValueError, match="equal RoPE"):
        replace(
            NUMBERS,
            text=text,
            text_attention=RotaryCrossAttention,
            audio=replace(NUMBERS.audio, rope=Rope(sizes=(8, 0, 0))),
        )
    with pytest.raises(ValueError, match="-1 context tokens"):
        replace(NUMBERS, num_context=-1)


# Guidance and recipes


def test_the_papers_video_tower_is_wan21_14b():
    with torch.device("meta"):
        backbone = ccl.ccl_paper().model.build()
        wan_14b = WanTransformer3DModel(num_layers=40, num_attention_heads=40, ffn_dim=13824)
    parts = [backbone.video, backbone.context.video, *(block.video for block in backbone.blocks)]
    count = sum(p.numel() for part in parts for p in part.parameters())
    assert count == sum(p.numel() for p in wan_14b.parameters()) == 14_288_491_584
    own = {name: p.numel() for name, p in backbone.named_parameters()}
    found = {renamed(name, wan.DIFFUSERS + ccl.WAN): p.numel() for name, p in wan_14b.named_parameters()}
    fresh = {name for name in own if any(re.search(rule, name) for rule in ccl.FRESH)}
    assert found == {name: number for name, number in own.items() if name not in fresh}


@pytest.mark.parametrize(("ours", "theirs"), [(ccl.ccl_study, jova.jova_study), (ccl.ccl_pocket, jova.jova_pocket)])
def test_sizes_match_jovas(ours, theirs):
    with torch.device("meta"):
        counts = [sum(p.numel() for p in recipe().model.build().parameters()) for recipe in (ours, theirs)]
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


def test_the_mix_of_tasks_is_whole_and_a_prompt_makes_both():
    experiment = ccl.ccl_study()
    assert sum(share for _, share in experiment.tasks) == pytest.approx(1.0)
    joint = sum(share for task, share in experiment.tasks if task.links == Links())
    assert joint == pytest.approx(0.5)
    needs = {"t2av": (), "i2av": ("image",), "a2v": ("audio",), "v2a": ("video",)}
    assert {experiment.task_for(frozenset(n)).name: n for n in needs.values()} == needs
