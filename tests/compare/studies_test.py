"""Studies: arms on equal terms that differ from each other, names that lead back to them, and blocks made for them."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from phonofilm.architectures.ccl import CCLBlock, CrossModalContextAttention, a2v_groups
from phonofilm.architectures.uniavgen import InteractionLayer
from phonofilm.compare.plan import check_prompts, trained_as
from phonofilm.compare.studies import ccl as studies_ccl
from phonofilm.compare.studies import uniavgen as studies_uniavgen
from phonofilm.compare.studies.systems import SAMPLING
from phonofilm.diffusion.losses import FaceLoss
from phonofilm.diffusion.tokens import positions
from phonofilm.errors import UserError
from phonofilm.evaluate.report.metrics import METRICS
from phonofilm.network.alignment import MaskedWindow, NearestFrame
from phonofilm.network.blocks import Hidden, State
from phonofilm.network.context import without_positions
from phonofilm.network.layers import CrossAttention, Rope, rope
from phonofilm.recipes import ccl
from phonofilm.recipes.lookup import find_function, find_recipe, names_of
from phonofilm.types import Grid, Links

NAMES = names_of("study")
ARMS = [f"{name}/{label}" for name in NAMES for label in find_function("study", name)().arms]
BUDGET = ("density", "dropout", "patch", "clock", "optim", "train", "geometry", "sampling")
"""What every arm of every study has in common."""
TRIED = {("jova_rope", "clock"), ("nava_timbre", "dropout")}
"""But for the clock where it is what is tried, and the dropout of a condition that no other study has."""


@cache
def study(name):
    return find_function("study", name)()


@cache
def size(model):
    with torch.device("meta"):
        return sum(p.numel() for p in model.build().parameters())


def test_there_are_studies_of_all_systems():
    assert {name.split("_")[0] for name in NAMES} == {"systems", "jova", "uniavgen", "nava", "ccl"}


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_tries(name):
    tried = study(name)
    assert tried.name == name
    assert tried.figure in {metric.name for metric in METRICS}
    assert all(text.endswith(".") for text in (tried.claim, tried.note))
    assert len(tried.arms) > 1
    check_prompts({label: recipe() for label, recipe in tried.arms.items()}, tried.prompts, tried)
    trainings = set(trained_as({label: recipe() for label, recipe in tried.arms.items()}).values())
    assert len(trainings) == (1 if SAMPLING in tried.note else len(tried.arms))


@pytest.mark.parametrize("arm", ARMS)
def test_an_arms_name_leads_back_to_it(arm):
    assert find_recipe(arm, foreign=False).name == arm


def test_unknown_arms_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'jova_mouth'"):
        find_recipe("jova_mout/5")
    with pytest.raises(UserError, match="known: 0, 1, 10, 5"):
        find_recipe("jova_mouth/7")


@pytest.mark.parametrize("name", NAMES)
def test_arms_are_equally_large(name):
    sizes = {label: size(recipe().model) for label, recipe in study(name).arms.items()}
    assert max(sizes.values()) <= 1.05 * min(sizes.values()), sizes


@pytest.mark.parametrize("name", NAMES)
def test_arms_differ_from_each_other_and_not_in_their_budget(name):
    made = [replace(recipe(), name="") for recipe in study(name).arms.values()]
    assert all(one != other for k, one in enumerate(made) for other in made[:k])
    system = find_recipe("jova_study")
    for experiment in made:
        for field in BUDGET:
            if (name, field) not in TRIED:
                assert getattr(experiment, field) == getattr(system, field), field


def test_systems_are_taught_the_same_in_the_same_words():
    made = [recipe() for recipe in study("systems").arms.values()]
    jova = made[0]
    shares = [(kind.name, share) for kind, share in jova.tasks]
    for experiment in made:
        assert [(kind.name, share) for kind, share in experiment.tasks] == shares
        taught = [loss for loss in experiment.losses if not isinstance(loss, FaceLoss)]
        assert taught == list(jova.losses)
        assert set(jova.regions) <= set(experiment.regions)
        encoders = {name: encoder for name, encoder in experiment.encoders.items() if name != "speech"}
        assert encoders == {name: encoder for name, encoder in jova.encoders.items() if name != "speech"}
        with torch.device("meta"):
            backbone = experiment.model.build()
        assert any(name.startswith("context.") and ".pool." in f".{name}" for name, _ in backbone.named_parameters())


@pytest.mark.parametrize("name", ["jova", "ovi", "uniavgen", "nava", "ccl", "universe1"])
def test_pocket_and_study_are_as_large_as_jovas(name):
    for scale in ("pocket", "study"):
        ours, jovas = (size(find_recipe(f"{system}_{scale}").model) for system in (name, "jova"))
        assert ours == pytest.approx(jovas, rel=0.02)


# Blocks that stand against an architecture's own

VIDEO, AUDIO = Grid(4, 2, 1, 1 / 24, 4 / 24), Grid(17, 1, 1, 0.032, 0.032)
SPEC = Rope(sizes=(16, 8, 8))
OPEN = Links()


def random(network, seed=0):
    torch.manual_seed(seed)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def hidden(grid, width, seed):
    """A stream whose first two tokens are given."""
    generator = torch.Generator().manual_seed(seed)
    pos = positions(grid).expand(2, -1, -1)
    given = torch.zeros(2, grid.tokens, dtype=torch.bool)
    given[:, :2] = True
    return Hidden(
        x=torch.randn(2, grid.tokens, width, generator=generator),
        time=torch.randn(2, 2, 7 * width, generator=generator),
        given=given,
        rotation=rope(pos, SPEC),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.randn(2, 3, width, generator=generator), torch.ones(2, 3, dtype=torch.bool)),
    )


def state(video, audio, links=OPEN):
    return State(video=hidden(VIDEO, video, 1), audio=hidden(AUDIO, audio, 2), links=links)


def small(**changes):
    """A CCL block's numbers: heads of 32, text without positions."""
    model = ccl.model(heads=(2, 1), head=32, mlp=32, num_blocks=1)
    return replace(model, **({"text_attention": CrossAttention, "num_context": 3} | changes))


def same(one, other):
    torch.testing.assert_close(one.video.x, other.video.x, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.audio.x, other.audio.x, rtol=1e-4, atol=1e-5)


def test_a_gate_of_one_is_no_gate_and_of_zero_is_a_closed_link():
    plain = random(CCLBlock(small(num_context=0)))
    gated = studies_ccl.GatedBlock(small(num_context=0)).eval()
    rest = gated.load_state_dict(plain.state_dict(), strict=False)
    gates = [part.out.gate for part in (gated.video_context, gated.audio_context)]
    assert (rest.missing_keys, rest.unexpected_keys) == (["video_context.out.gate", "audio_context.out.gate"], [])
    assert all(not gate.any() for gate in gates)
    assert torch.equal(gated(state(64, 32)).video.x, plain(state(64, 32, Links(False, False))).video.x)
    for gate in gates:
        torch.nn.init.ones_(gate)
    assert torch.equal(gated(state(64, 32)).video.x, plain(state(64, 32)).video.x)
    assert torch.equal(gated(state(64, 32)).audio.x, plain(state(64, 32)).audio.x)


def test_a_fresh_gate_learns_though_it_is_closed():
    block = studies_ccl.GatedBlock(small(num_context=0))
    block(state(64, 32)).video.x.sum().backward()
    assert block.video_context.out.gate.grad.abs().sum() > 0


def test_windows_as_wide_as_the_clip_are_no_windows():
    windows = replace(small().partition, num_frames=30.0)
    own, whole = random(CCLBlock(small(partition=windows))), studies_ccl.Whole(small()).eval()
    whole.load_state_dict(own.state_dict())
    torch.testing.assert_close(whole(state(64, 32)).video.x, own(state(64, 32)).video.x, rtol=1e-4, atol=1e-5)
    _, heard = whole.windows(VIDEO, AUDIO, torch.device("cpu"))
    assert [group.keys.tolist() for group in heard.groups] == [[list(range(VIDEO.tokens))]]


def test_without_routing_given_tokens_read_and_are_taught():
    numbers = small()
    routed = random(CrossModalContextAttention(numbers.video, numbers.audio, 3, numbers.shared(numbers.video)))
    free = studies_ccl.Unrouted(numbers.video, numbers.audio, 3, numbers.shared(numbers.video)).eval()
    free.load_state_dict(routed.state_dict())
    met, windows = state(64, 32), a2v_groups(numbers.partition, VIDEO, AUDIO, torch.device("cpu"))
    moved, kept = free(met.video, met.audio, windows), routed(met.video, met.audio, windows)
    assert torch.equal((moved.x == kept.x).all(dim=-1), ~met.video.given)
    assert torch.equal(moved.given, met.video.given)
    for reader, taught in ((free, True), (routed, False)):
        x = met.audio.x.clone().requires_grad_(True)
        reader(met.video, replace(met.audio, x=x), windows).x.sum().backward()
        assert bool(x.grad[:, :2].any()) == taught
    plain = replace(met.video, given=torch.zeros_like(met.video.given))
    sound = replace(met.audio, given=torch.zeros_like(met.audio.given))
    assert torch.equal(free(plain, sound, windows).x, routed(plain, sound, windows).x)


def test_ovis_exchange_between_ccls_towers_adds_nothing_where_links_are_closed():
    block = random(studies_ccl.OviExchangeBlock(small()))
    closed, met = block(state(64, 32, Links(False, False))), block(state(64, 32))
    alone = state(64, 32)
    same(closed, State(video=block.twin.video(alone.video), audio=block.twin.audio(alone.audio), links=alone.links))
    assert not torch.allclose(met.video.x, closed.video.x, atol=1e-3)


def interaction_layer(kind):
    """A layer of UniAVGen's study, whose heads have 64 channels."""
    model = studies_uniavgen.network(find_recipe("uniavgen_study"))
    return random(kind(model, CrossAttention, 0))


def wide():
    made = state(128, 128)
    spec = studies_uniavgen.network(find_recipe("uniavgen_study")).video.rope
    turned = [replace(h, rotation=rope(positions(h.grid).expand(2, -1, -1), spec)) for h in (made.video, made.audio)]
    ctx = replace(turned[0].ctx, rotation=rope(torch.zeros(2, 3, 3), spec))
    return replace(made, video=replace(turned[0], ctx=ctx), audio=replace(turned[1], ctx=ctx))


def test_where_the_exchange_brings_nothing_its_place_does_not_matter():
    layers = [
        interaction_layer(kind) for kind in (InteractionLayer, studies_uniavgen.BeforeText, studies_uniavgen.BeforeMLP)
    ]
    met = [layer(wide()).video.x for layer in layers]
    assert not torch.allclose(met[0], met[1], atol=1e-3)
    assert not torch.allclose(met[1], met[2], atol=1e-3)
    for layer in layers:
        for reader in (layer.a2v, layer.v2a):
            torch.nn.init.zeros_(reader.out.weight)
            torch.nn.init.zeros_(reader.out.bias)
    plain, *others = [layer(wide()) for layer in layers]
    for other in others:
        same(other, plain)


def test_without_a_mask_is_a_mask_of_ones():
    masked, unmasked = interaction_layer(InteractionLayer), interaction_layer(studies_uniavgen.Unmasked)
    unmasked.load_state_dict({n: t for n, t in masked.state_dict().items() if not n.startswith("face.")})
    torch.nn.init.zeros_(masked.face.out.weight)
    torch.nn.init.constant_(masked.face.out.bias, 50.0)
    same(masked(wide()), unmasked(wide()))


def test_global_attention_is_blind_to_order_but_not_to_time():
    layer = interaction_layer(studies_uniavgen.Everywhere)
    video, audio = wide().video, wide().audio
    face, order = torch.ones(2, VIDEO.tokens), torch.randperm(AUDIO.tokens)
    plain = layer.a2v(video, audio, face).x
    moved = replace(audio, x=audio.x[:, order])
    turned = replace(moved, rotation=audio.rotation[:, order])
    torch.testing.assert_close(layer.a2v(video, turned, face).x, plain, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(layer.a2v(video, moved, face).x, plain, atol=1e-3)
    nothing = layer.a2v(video, audio, torch.zeros_like(face)).x - video.x
    torch.testing.assert_close(nothing[:, 2:], layer.a2v.out.bias.expand_as(nothing[:, 2:]), rtol=1e-4, atol=1e-5)


def test_the_same_interval_is_what_is_shown_and_heard_at_once():
    window, seen = MaskedWindow(0.0)(VIDEO, AUDIO), NearestFrame()(VIDEO, AUDIO)
    ends = [1 / 24 + frame * 4 / 24 for frame in range(VIDEO.frames)]
    for token, (frames, weights) in enumerate(seen):
        middle = (token + 0.5) * AUDIO.step
        assert frames == (min(sum(middle >= end for end in ends), 3),) * 2
        assert weights == (1.0, 0.0)
        assert token in [t for t, real in zip(window.tokens[frames[0]], window.mask[frames[0]]) if real]
