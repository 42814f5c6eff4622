"""NAVA's own promises: sizes, voices and their order, the alignment mask, the sound's port and clock, loss weights."""

from dataclasses import replace

import pytest
import torch
from nava_small import network
from torch.nn import functional as F

from phonofilm.architectures.nava import TimbreInContext, TimbreOverSentinel, UnifiedFusionLayer
from phonofilm.diffusion.flow import Bell, Indexed, velocity
from phonofilm.diffusion.guidance import guided
from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.sampling import sigmas
from phonofilm.diffusion.tasks import T2AV, Pair, compose
from phonofilm.diffusion.tokens import positions
from phonofilm.encoders.timbre import Timbres, Voiceless
from phonofilm.network.blocks import State, WanLayer
from phonofilm.network.layers import CrossAttention, rope
from phonofilm.network.ports import Port
from phonofilm.recipes.jova import jova_pocket, jova_study
from phonofilm.recipes.nava import (
    caption,
    nava_paper,
    nava_pocket,
    nava_release,
    nava_study,
    unipc,
)
from phonofilm.types import CLOSED, AVOutput, Batch, Grid, Layout, Links, Prompt, Tokens

LAYOUT = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(9, 1, 1, 0.04, 0.04))


def random(network, std=0.15):
    torch.manual_seed(1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def made(sigma=0.6, *, swapped=False, silent=()):
    """Two lines of speech, one voice each."""
    g = torch.Generator().manual_seed(0)
    clean, noise = (Pair(torch.randn(1, 12, 12, generator=g), torch.randn(1, 9, 4, generator=g)) for _ in range(2))
    voice = torch.randn(1, 2, 8, generator=g)
    voice[:, list(silent)] = 0.0
    whole = torch.ones(1, 6, dtype=torch.bool)
    cond = {
        "text": Tokens(x=torch.randn(1, 6, 12, generator=g), mask=whole),
        "sentinels": Tokens(x=torch.tensor([[0, 1, 0, 0, 1, 0]]), mask=whole),
        "voice": Tokens(x=voice.flip(1) if swapped else voice, mask=whole[:, :2]),
        "voice.none": Tokens(x=voice * 0, mask=~whole[:, :2]),
        "text.negative": Tokens(x=torch.randn(1, 6, 12, generator=g), mask=whole),
    }
    return compose(T2AV, LAYOUT, clean, noise, Pair(*[torch.full((1,), sigma)] * 2), cond), clean


def size(experiment):
    with torch.device("meta"):
        return sum(p.numel() for p in experiment.model.build().parameters())


def test_sizes_match_jovas_and_the_release():
    assert size(nava_study()) == pytest.approx(size(jova_study()), rel=0.05)
    assert size(nava_pocket()) == pytest.approx(size(jova_pocket()), rel=0.05)
    assert size(nava_release()) == 6_296_995_520


def test_a_fuse_layer_is_wans_layer_over_both_streams_in_a_row():
    numbers = network(TimbreInContext)
    backbone = random(numbers.build())
    input, _ = made()
    ctx, _ = backbone.context(input)
    streams = backbone.video.enter(input.video, ctx), backbone.audio.enter(input.audio, ctx)
    fuse = backbone.blocks[3]
    assert isinstance(fuse, UnifiedFusionLayer)
    tower = WanLayer(numbers.video)
    tower.load_state_dict({name.removeprefix("both."): t for name, t in fuse.state_dict().items()})
    video, audio = streams
    row = replace(
        video,
        **{n: torch.cat([getattr(s, n) for s in streams], dim=1) for n in ("x", "given", "seconds")},
        rotation=torch.cat((video.rotation, audio.rotation), dim=1),
    )
    done = fuse(State(video=video, audio=audio, links=Links()))
    torch.testing.assert_close(torch.cat((done.video.x, done.audio.x), dim=1), tower(row).x, rtol=1e-5, atol=1e-5)


def test_only_attention_and_tables_are_split_in_align_layers():
    align, fuse = (network(TimbreInContext).build().blocks[n] for n in (0, 3))
    names = {name.removeprefix("video.") for name, _ in align.named_parameters() if name.startswith("video.")}
    assert names == {name.removeprefix("both.") for name, _ in fuse.named_parameters() if name.startswith("both.")}
    shared = {name for name, _ in align.named_parameters() if name.split(".")[0] not in ("video", "audio")}
    assert {name.split(".")[0] for name in shared} == {"norm_text", "mlp"}


@pytest.mark.parametrize(("voice", "visible"), [(TimbreInContext, True), (TimbreOverSentinel, False)])
def test_whose_voice_is_whose_is_seen_where_voices_are_added(voice, visible):
    backbone = random(network(voice).build())
    (one, _), (two, _) = made(), made(swapped=True)
    first, second = backbone(one).audio, backbone(two).audio
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-5) != visible
    assert not torch.allclose(first, backbone(made(silent=(0,))[0]).audio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("voice", [TimbreInContext, TimbreOverSentinel])
def test_no_voice_is_the_null_vector_and_a_masked_one_leaves_the_text(voice):
    backbone = random(network(voice).build())
    input, _ = made(silent=(0, 1))
    text = backbone.context.text(input)[0].x
    null = backbone.context.voice.null
    placed = backbone.context(input)[0].x
    at = torch.tensor([1, 4])
    expected = text[:, at] + null if voice is TimbreInContext else null.expand(1, 2, -1)
    torch.testing.assert_close(placed[:, at], expected)
    rest = torch.tensor([0, 2, 3, 5])
    torch.testing.assert_close(placed[:, rest], text[:, rest])
    masked = replace(input, cond=input.cond | {"voice": input.cond["voice.none"]})
    torch.testing.assert_close(backbone.context(masked)[0].x, text)


def test_the_mask_closes_both_ways_in_every_layer():
    backbone = random(network(TimbreInContext).build())
    input, _ = made()
    for name, other in (("video", "audio"), ("audio", "video")):
        alone = replace(input, links=CLOSED)
        moved = replace(alone, **{other: replace(getattr(alone, other), x=getattr(alone, other).x + 1)})
        assert torch.equal(getattr(backbone(alone), name), getattr(backbone(moved), name))
        assert not torch.allclose(getattr(backbone(alone), name), getattr(backbone(input), name), atol=1e-4)


def test_the_sounds_port_is_a_gated_convolution_on_its_own_tokens():
    port = random(Port(network(TimbreInContext).audio))
    x, grid = torch.randn(2, 9, 4), Grid(6, 1, 1, 0.04, 0.04)
    weights = {name.removeprefix("enter_x."): p for name, p in port.named_parameters()}

    def conv(x, name):
        """Each token's sum over its seven neighbours, zeros beyond the ends."""
        filters = weights[f"{name}.weight"]
        wide = F.pad(x, (0, 0, 3, 3))
        done = sum(wide[:, k : k + x.shape[1]] @ filters[..., k].mT for k in range(7))
        return done + weights.get(f"{name}.bias", 0.0)

    for run, where in ((x[:, :6], slice(0, 6)), (x[:, 6:], slice(6, 9))):  # references are a signal of their own
        hidden = F.silu(conv(run, "conv"))
        expected = conv(F.silu(conv(hidden, "gate")) * conv(hidden, "up"), "down")
        torch.testing.assert_close(port.embed(x, grid)[:, where], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "start", "frame"),
    [(nava_release, 0.0, 1.0), (nava_paper, 0.12, 0.75)],  # latent frame 1 is the middle of pixel frames 1 to 4
)
def test_sound_turns_44_of_128_channels_on_the_videos_clock(recipe, start, frame):
    experiment = recipe()
    video, audio = (
        rope(positions(grid, experiment.clock).unsqueeze(0), stream.rope)
        for grid, stream in ((LAYOUT.video, experiment.model.video), (LAYOUT.audio, experiment.model.audio))
    )
    frames = start + 0.24 * torch.arange(9)  # 6 latent frames and 25 tokens of sound a second
    angle = frames[:, None] * 10000.0 ** -(torch.arange(0, 44, 2) / 44)
    torch.testing.assert_close(audio[0, :, :22, 1], angle.sin())
    torch.testing.assert_close(audio[0, :, :22, 0], angle.cos())
    assert torch.equal(audio[..., 22:, 0], torch.ones(1, 9, 42))
    assert video[0, 4, 0, 1].item() == pytest.approx(torch.tensor(frame).sin().item())


def test_one_time_mlp_serves_both_streams():
    backbone = random(network(TimbreInContext).build())
    sigma = torch.tensor([0.3])
    assert torch.equal(backbone.audio.time(sigma), backbone.video.time(sigma))
    assert not [name for name in backbone.state_dict() if name.startswith("audio.time")]


def test_weights_of_noise_levels():
    levels = torch.tensor([1.0, 0.9, 0.8, 0.5, 0.1])
    assert Bell()(levels).tolist() == pytest.approx([0.0, 0.63, 1.2, 2.07, 0.64], abs=0.01)
    table = Indexed()
    assert Bell(table)(table.levels()).mean().item() == pytest.approx(1.0, abs=1e-5)
    assert (table.levels().mean().item(), table.levels().median().item()) == pytest.approx((0.75, 0.83), abs=0.01)
    drawn = table(20_000, torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(0.75, abs=0.01)
    assert set(drawn.tolist()) <= set(table.levels().tolist())


def test_the_loss_weighs_samples_by_their_level():
    input, clean = made(sigma=0.5)
    batch = Batch(video=clean.video, audio=clean.audio, regions={})
    still = AVOutput(video=torch.zeros(1, 12, 12), audio=torch.zeros(1, 9, 4))
    terms = FlowLoss(audio=0.2, levels=Bell())(input, still, batch, 0)
    weight = Bell()(torch.tensor([0.5])).item()
    for name, share in (("video", 1.0), ("audio", 0.2)):
        stream = getattr(input, name)
        error = velocity(stream.x, getattr(clean, name), stream.sigma).square().mean().item()
        assert terms[name].item() == pytest.approx(share * weight * error, rel=1e-5)


def test_guidance_is_the_releases_sum_of_three_differences():
    """v + 3 (v - v_neg) + 3 (v - v_mask) for video; 2, 2 and 3 for voices in the sound."""
    backbone = random(network(TimbreInContext).build())
    input, _ = made()
    swap = lambda **names: replace(input, cond=input.cond | {n: input.cond[o] for n, o in names.items()})  # noqa: E731
    v = backbone(input)
    negative = backbone(swap(text="text.negative", voice="voice.none"))
    mask, silent = backbone(replace(input, links=CLOSED)), backbone(swap(voice="voice.none"))
    done = guided(backbone, *nava_paper().guidance)(input)
    torch.testing.assert_close(done.video, 7 * v.video - 3 * negative.video - 3 * mask.video, rtol=1e-4, atol=1e-4)
    expected = 8 * v.audio - 2 * negative.audio - 2 * mask.audio - 3 * silent.audio
    torch.testing.assert_close(done.audio, expected, rtol=1e-4, atol=1e-4)


def test_unipc_finds_the_data_of_an_exact_model():
    input, clean = made(sigma=1.0)

    def exact(input):
        return AVOutput(
            video=velocity(input.video.x, clean.video, input.video.sigma),
            audio=velocity(input.audio.x, clean.audio, input.audio.sigma),
        )

    done = unipc(exact, input, sigmas(6, 5.0))
    torch.testing.assert_close(done.video.x, clean.video, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(done.audio.x, clean.audio, rtol=1e-3, atol=1e-3)


def test_voices_go_to_the_lines_of_their_speakers():
    said = (("anna", "one"), ("ben", "two"), ("anna", "three"))
    prompts = [Prompt(scene="a room", sound="rain", speech=said), Prompt(speech=(("", "four"),))]
    assert caption(prompts[0]).count("<S><extra_id_2>") == 3
    tokens = Timbres(3)(prompts, [(("anna", torch.full((3,), 0.5)),), ()])
    assert tokens.x[0, :, 0].tolist() == [0.5, 0.0, 0.5]
    assert tokens.mask.tolist() == [[True] * 3, [True, False, False]]
    assert not Voiceless(3, placed=False)(prompts, [(), ()]).mask.any()


def test_every_line_of_bytes_has_its_sentinel():
    experiment = nava_study()
    said = (("left", "one"), ("right", "two"))
    cond = experiment.encode([Prompt(speech=said), Prompt(speech=(("", "three"),)), Prompt(scene="nobody")])
    input = replace(made()[0], cond=cond)
    assert experiment.model.text.sentinels(input).sum(dim=1).tolist() == [2, 1, 0]
    assert experiment.model.text.text_attention is not CrossAttention  # characters have seconds


def test_what_cannot_be_had_is_said():
    numbers = network(TimbreInContext)
    with pytest.raises(ValueError, match="equal width"):
        replace(numbers, audio=replace(numbers.audio, mlp=64))
