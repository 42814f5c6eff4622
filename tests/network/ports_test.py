"""Ports leaf by leaf in closed form, every combination of leaves, and what is refused."""

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch.nn import functional as F

from phonofilm.network import ports
from phonofilm.network.blocks import Context
from phonofilm.network.layers import Rope
from phonofilm.network.ports import (
    ConvEmbed,
    Data,
    DiTTime,
    LinearEmbed,
    MLPEmbed,
    Pooled,
    Port,
    StreamConfig,
    Velocity,
    WanTime,
)
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Grid, Stream

pytestmark = pytest.mark.quick

WIDTH, FRAMES, REFERENCES, TEXT = 16, 5, 2, 6
CONFIG = StreamConfig(
    channels=4, beside=2, width=WIDTH, heads=2, mlp=8, rope=Rope(sizes=(4, 2, 2)), time=DiTTime(width=12)
)
EMBEDS = (LinearEmbed(), MLPEmbed(), ConvEmbed(kernel=3, inner=10))
TIMES = (DiTTime(width=12, freq_dim=6), WanTime(freq_dim=6))
POOLED = (None, Pooled(channels=TEXT))


def leaves(parts):
    return "-".join(type(part).__name__ for part in parts)


def random(port):
    torch.manual_seed(0)
    for parameter in port.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return port.eval()


def made(given=(0,), frames=FRAMES, references=REFERENCES):
    """A stream whose references are given, and some of the grid's tokens too."""
    generator = torch.Generator().manual_seed(1)
    tokens = frames + references
    return Stream(
        x=torch.randn(2, tokens, 4, generator=generator),
        sigma=torch.tensor([0.5, 0.02]),
        given=torch.tensor([i in given or i >= frames for i in range(tokens)], dtype=torch.bool).expand(2, -1),
        pos=torch.rand(2, tokens, 3, generator=generator),
        beside=torch.randn(2, tokens, 2, generator=generator),
        grid=Grid(frames, 1, 1, 0.1, 0.1),
    )


def read(config):
    """A context with pooled text where the stream reads it."""
    pooled = torch.randn(2, TEXT, generator=torch.Generator().manual_seed(2)) if config.pooled else None
    empty = torch.zeros(2, 3, 0, 2)
    mask = torch.ones(2, 3, dtype=torch.bool)
    return Context(x=torch.zeros(2, 3, WIDTH), mask=mask, rotation=empty, pooled=pooled)


def entered(port, stream):
    return port.enter(stream, read(port.config))


def sinusoid(sigma, channels):
    """Cosines, then sines, of a thousand times the level at frequencies from 1 down to 1 / 10000."""
    rates = [10000.0 ** -(i / (channels // 2)) for i in range(channels // 2)]
    return torch.tensor([f(1000 * sigma * rate) for f in (math.cos, math.sin) for rate in rates])


def embedding(mlp, sigma, channels):
    return mlp[2](F.silu(mlp[0](sinusoid(sigma, channels))))


# How tokens come in.


def test_a_linear_embedding_reads_what_lies_beside_the_tokens():
    port, stream = random(Port(CONFIG)), made()
    weight, bias = port.enter_x.weight, port.enter_x.bias
    expected = stream.x @ weight[:, :4].mT + stream.beside @ weight[:, 4:].mT + bias
    torch.testing.assert_close(entered(port, stream).x, expected)


def test_an_mlp_embedding_is_two_layers_around_a_gelu():
    port, stream = random(Port(replace(CONFIG, embed=MLPEmbed()))), made()
    first, _, last = port.enter_x
    x = torch.cat((stream.x, stream.beside), dim=-1) @ first.weight.mT + first.bias
    gelu = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    torch.testing.assert_close(entered(port, stream).x, gelu @ last.weight.mT + last.bias, rtol=1e-4, atol=1e-5)
    assert port.padding.shape == (WIDTH,)


def test_a_convolutional_embedding_keeps_references_apart():
    port, stream = random(Port(replace(CONFIG, embed=EMBEDS[2]))), made()
    x = torch.cat((stream.x, stream.beside), dim=-1)
    whole = port.embed(x, stream.grid)
    torch.testing.assert_close(whole[:, :FRAMES], port.enter_x(x[:, :FRAMES]))
    torch.testing.assert_close(whole[:, FRAMES:], port.enter_x(x[:, FRAMES:]))
    assert not torch.allclose(whole, port.enter_x(x))


def test_a_convolutional_embedding_sees_neighbours_as_far_as_its_kernels_reach():
    port = random(Port(replace(CONFIG, embed=EMBEDS[2])))
    x, grid = torch.randn(1, 9, 6), Grid(9, 1, 1, 0.1, 0.1)
    other = x.clone()
    other[:, 0] += 1.0
    moved = (port.embed(x, grid) - port.embed(other, grid)).abs().sum(-1)[0]
    assert (moved > 1e-6).tolist() == [True] * 4 + [False] * 5  # three kernels of 3


def test_a_convolutional_embedding_refuses_pictures_whose_neighbours_it_would_mix_up():
    port = Port(replace(CONFIG, embed=EMBEDS[2]))
    with pytest.raises(ValueError, match="one token a frame, got 2 x 1"):
        port.embed(torch.randn(1, 4, 6), Grid(2, 2, 1, 0.1, 0.1))


# What becomes of the noise level.


@pytest.mark.parametrize("freq_dim", [6, 256])
def test_dits_time_vector_is_an_mlp_of_the_sinusoid(freq_dim):
    port, stream = random(Port(replace(CONFIG, time=DiTTime(width=12, freq_dim=freq_dim)))), made()
    found = entered(port, stream).time
    expected = [[embedding(port.time.mlp, s, freq_dim) for s in (sigma, 0.0)] for sigma in stream.sigma.tolist()]
    torch.testing.assert_close(found, torch.stack([torch.stack(row) for row in expected]), rtol=1e-4, atol=1e-4)
    assert port.config.time_channels == found.shape[-1] == 12


@pytest.mark.parametrize("freq_dim", [6, 256])
def test_wans_time_vectors_are_six_projections_and_the_embedding(freq_dim):
    port, stream = random(Port(replace(CONFIG, time=WanTime(freq_dim=freq_dim)))), made()
    found = entered(port, stream).time
    for row, sigma in zip(found, stream.sigma.tolist()):
        for vector, level in zip(row, (sigma, 0.0)):
            plain = embedding(port.time.embedding.mlp, level, freq_dim)
            expected = torch.cat((port.time.projection(F.silu(plain)), plain))
            torch.testing.assert_close(vector, expected, rtol=1e-4, atol=1e-4)
    assert port.config.time_channels == found.shape[-1] == 7 * WIDTH


@pytest.mark.parametrize("clean", [True, False])
def test_references_are_modulated_as_clean_tokens_or_at_the_clips_level(clean):
    port = random(Port(replace(CONFIG, time=WanTime(clean_references=clean))))
    assert entered(port, made(given=(0, 2))).given[0].tolist() == [True, False, True, False, False, clean, clean]


# What comes out.


def output(port, hidden):
    """The output layer on the modulated hidden state, token by token."""
    row = hidden.time.unflatten(-1, (7, WIDTH))[:, :, 6:] + port.modulation.table
    pick = hidden.given.long()
    shift, scale = (torch.stack([row[b, pick[b], n] for b in range(2)]) for n in range(2))
    x = hidden.x - hidden.x.mean(-1, keepdim=True)
    x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return port.leave_x(x * (1 + scale) + shift)


def test_a_predicted_velocity_is_the_output_itself():
    port, stream = random(Port(replace(CONFIG, time=WanTime()))), made()
    hidden = entered(port, stream)
    torch.testing.assert_close(port.leave(hidden, stream), output(port, hidden), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("smallest", [0.05, 0.25])
def test_predicted_data_lies_a_level_of_velocity_away(smallest):
    port, stream = random(Port(replace(CONFIG, time=WanTime(), predict=Data(smallest=smallest)))), made()
    hidden = entered(port, stream)
    velocity, data = port.leave(hidden, stream), output(port, hidden)
    level = torch.tensor([0.5, smallest])[:, None].expand(-1, FRAMES + REFERENCES).clone()  # 0.02 is below both
    level[stream.given] = 1.0
    torch.testing.assert_close(stream.x - level[..., None] * velocity, data, rtol=1e-4, atol=1e-4)


# Pooled text.


@pytest.mark.parametrize("time", TIMES, ids=["dit", "wan"])
def test_pooled_text_joins_tokens_and_time_vectors_from_nothing(time):
    config = replace(CONFIG, time=time, pooled=Pooled(channels=TEXT))
    port, stream, text = Port(config), made(), read(config).pooled
    plain = Port(replace(config, pooled=None))
    inner = port.time.level if isinstance(time, WanTime) else port.time
    plain.enter_x.load_state_dict(port.enter_x.state_dict())
    plain.time.load_state_dict(inner.state_dict())
    one, two = entered(port, stream), entered(plain, stream)
    assert torch.equal(one.x, two.x)
    assert torch.equal(one.time, two.time)
    joins = port.time.pooled if isinstance(time, WanTime) else port.pooled
    for layer in (port.pooled_x, joins):
        torch.nn.init.normal_(layer.weight)
    hidden = entered(port, stream)
    torch.testing.assert_close(hidden.x, two.x + (text @ port.pooled_x.weight.mT)[:, None])
    added = (text @ joins.weight.mT)[:, None]
    if isinstance(time, WanTime):  # before the projection, so that all seven vectors know the text
        expected = plain.time.project(plain.time.embedding(stream.sigma) + added)
    else:
        expected = two.time + added
    torch.testing.assert_close(hidden.time, expected)


@pytest.mark.parametrize(("reads", "brings"), [(None, TEXT), (TEXT, None), (TEXT, TEXT + 1)])
def test_pooled_text_that_nobody_reads_or_makes_is_refused(reads, brings):
    port = Port(replace(CONFIG, pooled=Pooled(channels=reads) if reads else None))
    ctx = replace(read(CONFIG), pooled=None if brings is None else torch.zeros(2, brings))
    with pytest.raises(ValueError, match="pooled text is"):
        port.enter(made(), ctx)


# All together.


@pytest.mark.parametrize("parts", list(product(EMBEDS, TIMES, (Velocity(), Data()), POOLED)), ids=leaves)
def test_every_combination_of_leaves_makes_a_port(parts):
    embed, time, predict, pooled = parts
    port = random(Port(replace(CONFIG, embed=embed, time=time, predict=predict, pooled=pooled)))
    assert next(m for m in port.time.modules() if isinstance(m, torch.nn.Linear)).in_features == 6
    for stream in (made(), made(references=0), made(given=(), frames=0, references=0)):
        hidden = entered(port, stream)
        assert hidden.x.shape == (*stream.x.shape[:2], WIDTH)
        assert hidden.time.shape == (2, 2, port.config.time_channels)
        velocity = port.leave(hidden, stream)
        assert velocity.shape == stream.x.shape
        assert velocity.isfinite().all()


@pytest.mark.parametrize("parts", list(product(EMBEDS, TIMES, POOLED)), ids=leaves)
def test_nothing_is_built_to_be_thrown_away(parts, monkeypatch):
    embed, time, pooled = parts
    built, init = [], torch.nn.Module.__init__

    def note(module, *args, **rest):
        built.append(module)
        init(module, *args, **rest)

    monkeypatch.setattr(torch.nn.Module, "__init__", note)
    port = Port(replace(CONFIG, embed=embed, time=time, pooled=pooled))
    kept = {id(module) for module in port.modules()}
    assert [module for module in built if id(module) not in kept] == []


def test_shared_time_layers_are_not_built_twice(monkeypatch):
    built = []
    monkeypatch.setattr(WanTime, "build", lambda *args: built.append(args))
    lent = torch.nn.Identity()
    assert Port(replace(CONFIG, time=WanTime()), time=lent).time is lent
    assert built == []


def test_ports_and_their_numbers_are_ten_classes_and_no_subclass():
    own = [kind for kind in vars(ports).values() if isinstance(kind, type) and kind.__module__ == ports.__name__]
    assert len(own) <= 10
    below = [kind for one in own for kind in one.__subclasses__() if kind.__module__.startswith("phonofilm.")]
    assert {kind.__module__ for kind in below} <= {"phonofilm.network.ace_time"}  # UniVerse-1's two ways to read levels
    assert not [kind for kind in below if issubclass(kind, ports.Port)]


# What is refused.


@pytest.mark.parametrize(
    ("leaf", "match"),
    [
        (lambda: ConvEmbed(kernel=4, inner=8), "kernel 4: an odd number"),
        (lambda: DiTTime(width=8, freq_dim=7), "freq_dim is 7: an even number"),
        (lambda: WanTime(freq_dim=0), "freq_dim is 0: an even number"),
        (lambda: Data(smallest=0.0), "smallest divisor must be above 0"),
        (lambda: Pooled(channels=0), "at least 1, or no Pooled"),
        (lambda: replace(CONFIG, rope=Rope(sizes=(4, 4, 4))), r"must add up to a head's 8 channels"),
    ],
)
def test_numbers_that_cannot_work_are_refused(leaf, match):
    with pytest.raises(ValueError, match=match):
        leaf()


def test_a_wan_stream_has_no_width_of_time_vectors_to_set():
    with pytest.raises(TypeError, match="width"):
        WanTime(width=999)


@pytest.mark.parametrize("system", ["jova", "ovi", "uniavgen", "nava", "ccl"])
@pytest.mark.parametrize("stream", ["video", "audio"])
def test_blocks_refuse_a_stream_with_time_vectors_of_the_other_kind(system, stream):
    model = find_recipe(f"{system}_study").model
    config = getattr(model, stream)
    other = DiTTime(width=64) if isinstance(config.time, WanTime) else WanTime()
    wanted, found = type(config.time).__name__, type(other).__name__
    with pytest.raises(ValueError, match=f"blocks read {wanted}, the stream has {found}"):
        replace(model, **{stream: replace(config, time=other)})


def test_navas_streams_share_their_time_layers_so_their_numbers_are_equal():
    model = find_recipe("nava_study").model
    for change in ({"time": WanTime(freq_dim=64)}, {"pooled": None}):
        with pytest.raises(ValueError, match="shared time layers"):
            replace(model, audio=replace(model.audio, **change))
