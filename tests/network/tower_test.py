"""Wan layers against diffusers' own, on random weights, and what must hold for a stream of no tokens."""

from dataclasses import replace

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformerBlock

from phonofilm.network.blocks import Hidden, WanLayer
from phonofilm.network.context import TowerText, without_positions
from phonofilm.network.layers import Rope, RotaryCrossAttention, rope
from phonofilm.network.ports import StreamConfig, WanTime
from phonofilm.types import Grid

pytestmark = pytest.mark.quick

CONFIG = StreamConfig(width=32, heads=2, mlp=48, channels=4, rope=Rope(sizes=(8, 4, 4)), time=WanTime())
NAMES = {  # ours to diffusers'
    "modulation.table": "scale_shift_table",
    "projection.q": "attn1.to_q",
    "projection.k": "attn1.to_k",
    "projection.v": "attn1.to_v",
    "projection.norm_q": "attn1.norm_q",
    "projection.norm_k": "attn1.norm_k",
    "out": "attn1.to_out.0",
    "norm_text": "norm2",
    "text.projection.q": "attn2.to_q",
    "text.projection.k": "attn2.to_k",
    "text.projection.v": "attn2.to_v",
    "text.projection.norm_q": "attn2.norm_q",
    "text.projection.norm_k": "attn2.norm_k",
    "text.out": "attn2.to_out.0",
    "mlp.0": "ffn.net.0.proj",
    "mlp.2": "ffn.net.2",
}


def hidden(tokens=6, batch=2, length=5):
    generator = torch.Generator().manual_seed(0)
    pos = torch.rand(batch, tokens, 3, generator=generator) * 9
    return Hidden(
        x=torch.randn(batch, tokens, 32, generator=generator),
        time=torch.randn(batch, 2, 7 * 32, generator=generator),
        given=torch.zeros(batch, tokens, dtype=torch.bool),
        rotation=rope(pos, CONFIG.rope),
        seconds=pos[..., 0],
        grid=Grid(tokens, 1, 1, 0.1, 0.1),
        ctx=without_positions(
            torch.randn(batch, length, 32, generator=generator), torch.ones(batch, length, dtype=torch.bool)
        ),
    )


def random(network):
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def test_a_tower_layer_is_diffusers_wan_block():
    theirs = random(WanTransformerBlock(32, 48, 2, cross_attn_norm=True, eps=1e-6))
    ours = WanLayer(CONFIG)
    state = {}
    for name, tensor in ours.state_dict().items():
        stem, end = (name, "") if name in NAMES else name.rsplit(".", 1)
        state[name] = theirs.state_dict()[NAMES[stem] + (f".{end}" if end else "")].view_as(tensor)
    assert len(state) == len(theirs.state_dict())
    ours.load_state_dict(state)
    stream = hidden()
    both = [part.repeat_interleave(2, -1).unsqueeze(2) for part in stream.rotation.unbind(-1)]
    temb = stream.time[:, 0].unflatten(-1, (7, -1))[:, :6]
    expected = theirs(stream.x, stream.ctx.x, temb, tuple(both))
    torch.testing.assert_close(ours(stream).x, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_stream_of_few_tokens_passes(tokens):
    stream = hidden(tokens=tokens)
    assert random(WanLayer(CONFIG))(stream).x.shape == stream.x.shape


def test_a_timed_reader_hears_the_distance_and_a_plain_one_does_not():
    stream = hidden()
    later = replace(stream, rotation=rope(torch.full((2, 6, 3), 2.0), CONFIG.rope))
    placed = rope(torch.zeros(2, 5, 3), CONFIG.rope)
    for text_attention, hears in ((RotaryCrossAttention, True), (type(WanLayer(CONFIG).text), False)):
        tower = random(WanLayer(CONFIG, text_attention))
        ctx = replace(stream.ctx, rotation=placed)
        one, two = (tower.cross_attention(replace(s, ctx=ctx)).x for s in (stream, later))
        assert torch.equal(one, two) != hears


def test_masked_text_is_not_read():
    tower, stream = random(WanLayer(CONFIG)), hidden()
    mask = torch.tensor([True, True, False, True, False]).expand(2, -1)
    marred = torch.where(mask.unsqueeze(-1), stream.ctx.x, 9.0)
    one, two = (tower(replace(stream, ctx=without_positions(x, mask))).x for x in (stream.ctx.x, marred))
    torch.testing.assert_close(one, two)


def test_tower_text_names_each_condition_once():
    assert TowerText(video=("t5", 8), audio=("t5", 8)).fields == ("t5",)
    assert TowerText(video=("t5", 8), audio=("characters", 4)).fields == ("t5", "characters")
