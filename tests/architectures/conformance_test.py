"""Conformance: what every architecture promises the rest of the library. Recipes named *_study are found by themselves.
Those outside the package, and blocks that only studies use, stand in EXAMPLES.

All weights are drawn at random, so that nothing hides behind outputs and gates that start at zero.
"""

from dataclasses import replace

import pytest
import study_blocks
import torch

from phonofilm.checkpoints.folder import pack, unpack
from phonofilm.codecs.folders import load_strictly
from phonofilm.diffusion.flow import velocity
from phonofilm.diffusion.guidance import Skipping, unlinked
from phonofilm.diffusion.losses import FlowLoss, total
from phonofilm.diffusion.sampling import euler, heun, sigmas
from phonofilm.diffusion.tasks import A2V, T2A, T2AV, T2V, V2A, InStream, Pair, compose, continue_after, placed
from phonofilm.network.layers import Modulation
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.types import AVOutput, Batch, Grid, Layout, Links, Prompt

EXAMPLES = ["examples.experts_recipe:experts_study", *(f"study_blocks:{name}" for name in study_blocks.RECIPES)]
RECIPES = [name for name in recipe_names() if name.endswith("_study")] + EXAMPLES
LAYOUT = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(12, 1, 1, 0.03125, 0.03125))
PROMPTS = (
    Prompt(scene="a woman with red hair", sound="a high voice", speech=(("", "set white with p two soon"),)),
    Prompt(scene="a man", speech=(("", "bin blue"),)),
)


@pytest.fixture(params=RECIPES, scope="module")
def experiment(request):
    return find_recipe(request.param)


@pytest.fixture(scope="module")
def backbone(experiment):
    torch.manual_seed(0)
    network = experiment.model.build()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return network.eval()


def tokens(experiment, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    model = experiment.model
    return Pair(
        *(
            torch.randn(batch, grid.tokens, stream.channels, generator=generator)
            for grid, stream in ((LAYOUT.video, model.video), (LAYOUT.audio, model.audio))
        )
    )


def widened(experiment, task):
    """Known tokens in the stream; a network with channels beside its tokens gets zeros there."""
    return placed(task, InStream(empty=experiment.model.video.beside))


def made(experiment, task=T2AV, sigma=0.6, seed=1, prompts=PROMPTS):
    level = torch.full((len(prompts),), sigma)
    clean, noise = tokens(experiment, len(prompts), seed), tokens(experiment, len(prompts), seed + 100)
    cond = experiment.encode(prompts)
    if "voice" in cond:  # what no prompt brings: one speaker with a voice, one without
        vector = torch.randn(cond["voice"].x.shape, generator=torch.Generator().manual_seed(seed))
        silent = torch.arange(len(prompts))[:, None, None] % 2 == 1
        cond["voice"] = replace(cond["voice"], x=torch.where(silent, 0.0, vector))
    return compose(widened(experiment, task), LAYOUT, clean, noise, Pair(level, level), cond), clean


def changed(input, stream):
    """The input with other tokens in one stream."""
    old = getattr(input, stream)
    return replace(input, **{stream: replace(old, x=old.x + 1.0)})


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.quick
def test_output_has_the_shape_of_the_input(experiment, backbone):
    input, _ = made(experiment)
    output = backbone(input)
    assert output.video.shape == input.video.x.shape
    assert output.audio.shape == input.audio.x.shape
    assert output.video.isfinite().all()
    assert output.audio.isfinite().all()


def test_wrong_channels_are_refused(experiment, backbone):
    input, _ = made(experiment)
    wrong = replace(input, video=replace(input.video, x=input.video.x[..., 1:]))
    with pytest.raises(ValueError, match="channels"):
        backbone(wrong)


@pytest.mark.parametrize(
    "links",
    [pytest.param(Links(False, False), marks=pytest.mark.quick), Links(True, False), Links(False, True), Links()],
)
def test_a_closed_link_has_no_influence_and_an_open_one_has(experiment, backbone, links):
    input = replace(made(experiment)[0], links=links)
    plain = backbone(input)
    by_audio, by_video = backbone(changed(input, "audio")), backbone(changed(input, "video"))
    assert torch.equal(plain.video, by_audio.video) != links.a2v
    assert torch.equal(plain.audio, by_video.audio) != links.v2a


@pytest.mark.parametrize("task", [A2V, V2A, continue_after(0.05)], ids=lambda t: t.name)
@pytest.mark.parametrize("sampler", [euler, heun])
def test_given_tokens_do_not_move(experiment, backbone, task, sampler):
    input, clean = made(experiment, task, sigma=1.0)
    done = sampler(backbone, input, sigmas(2, 3.0))
    for stream, start, data in ((done.video, input.video, clean.video), (done.audio, input.audio, clean.audio)):
        assert torch.equal(stream.x[start.given], data[start.given])


@pytest.mark.parametrize("task", [A2V, V2A], ids=lambda t: t.name)
def test_given_tokens_are_out_of_the_loss(experiment, backbone, task):
    input, clean = made(experiment, task)
    output = backbone(input)
    batch = Batch(video=clean.video, audio=clean.audio, regions={})
    terms = FlowLoss()(input, output, batch, 0)
    marred = AVOutput(
        video=torch.where(input.video.given.unsqueeze(-1), 7.0, output.video),
        audio=torch.where(input.audio.given.unsqueeze(-1), 7.0, output.audio),
    )
    again = FlowLoss()(input, marred, batch, 0)
    assert {name: term.item() for name, term in terms.items()} == {name: term.item() for name, term in again.items()}


def test_given_tokens_are_modulated_as_clean_ones(experiment, backbone):
    """A given token's own modulation does not see sigma: alone, without anything to read, it is blind to it."""
    rows = []

    def note(module, arguments, output):
        _, given = arguments
        rows[-1] += [part[given] for part in output]

    hooks = [m.register_forward_hook(note) for m in backbone.blocks.modules() if isinstance(m, Modulation)]
    for sigma in (0.1, 0.9):
        rows.append([])
        backbone(made(experiment, continue_after(0.05), sigma=sigma)[0])
    for hook in hooks:
        hook.remove()
    assert sum(len(row) for row in rows[0]) > 0
    assert all(torch.equal(one, two) for one, two in zip(*rows))
    input, _ = made(experiment, V2A)
    dim = replace(input.video, sigma=torch.tensor([0.1, 0.9]))
    hidden, other = (backbone.video.enter(stream, backbone.context(input)[0]) for stream in (input.video, dim))
    assert hidden.given.all()
    assert torch.equal(backbone.video.leave(hidden, input.video), backbone.video.leave(other, dim))


def test_the_order_of_a_batch_does_not_matter(experiment, backbone):
    forth, _ = made(experiment)
    back = torch.utils._pytree.tree_map(lambda x: x.flip(0), forth)
    torch.testing.assert_close(backbone(back).video.flip(0), backbone(forth).video, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(backbone(back).audio.flip(0), backbone(forth).audio, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("task", [T2AV, T2V, T2A], ids=lambda t: t.name)
def test_every_parameter_that_serves_gets_a_gradient(experiment, backbone, task):
    input, clean = made(experiment, task)
    backbone.zero_grad()
    output = backbone(input)
    batch = Batch(video=clean.video, audio=clean.audio, regions={})
    total(FlowLoss()(input, output, batch, 0)).backward()
    grads = {name: parameter.grad for name, parameter in backbone.named_parameters()}
    assert all(grad is None or grad.isfinite().all() for grad in grads.values())
    if not task.absent:
        dead = [n for n, grad in grads.items() if grad is None or (grad.numel() and not grad.abs().sum() > 0)]
        # The text stops at the last block: what only its last state feeds has nothing to serve.
        last = f"blocks.{len(backbone.blocks) - 1}."
        assert [name for name in dead if not name.startswith(last)] == []


@pytest.mark.parametrize(("task", "absent"), [(T2V, "audio"), (T2A, "video")], ids=["t2v", "t2a"])
def test_an_absent_stream_is_empty(experiment, backbone, task, absent):
    input, _ = made(experiment, task)
    output = backbone(input)
    assert getattr(output, absent).shape[1] == 0
    assert all(part.isfinite().all() for part in (output.video, output.audio))
    present = "video" if absent == "audio" else "audio"
    whole = backbone(unlinked(made(experiment)[0]))
    torch.testing.assert_close(getattr(output, present), getattr(whole, present), rtol=1e-4, atol=1e-5)


def test_a_skipped_block_is_not_run(experiment, backbone):
    input, _ = made(experiment)
    ran = []
    hooks = [b.register_forward_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(backbone.blocks)]
    backbone(Skipping(frozenset({1}))(input))
    for hook in hooks:
        hook.remove()
    assert ran == [i for i in range(len(backbone.blocks)) if i != 1]


def test_exact_velocity_and_one_step_give_the_data(experiment):
    input, clean = made(experiment, sigma=1.0)

    def exact(input):
        streams = ((input.video, clean.video), (input.audio, clean.audio))
        video, audio = (velocity(stream.x, data, stream.sigma) for stream, data in streams)
        return AVOutput(video=video, audio=audio)

    done = euler(exact, input, sigmas(1))
    torch.testing.assert_close(done.video.x, clean.video)
    torch.testing.assert_close(done.audio.x, clean.audio)
    batch = Batch(video=clean.video, audio=clean.audio, regions={})
    assert total(FlowLoss()(input, exact(input), batch, 0)).item() == 0.0


def test_saved_and_loaded_weights_give_the_same_output(experiment, backbone):
    input, _ = made(experiment)
    other = experiment.model.build().eval()
    load_strictly(other, unpack(pack(backbone.state_dict(), 32)), where="test")
    assert torch.equal(other(input).video, backbone(input).video)
    assert torch.equal(other(input).audio, backbone(input).audio)


def test_eight_bits_come_near(experiment, backbone):
    input, _ = made(experiment)
    other = experiment.model.build().eval()
    load_strictly(other, unpack(pack(backbone.state_dict(), 8)), where="test")
    for one, two in ((other(input).video, backbone(input).video), (other(input).audio, backbone(input).audio)):
        assert 0 < (one - two).norm() / two.norm() < 0.05


def test_missing_and_surplus_weights_are_named(experiment, backbone):
    weights = dict(backbone.state_dict())
    weights["nobody.weight"] = torch.zeros(1)
    with pytest.raises(ValueError, match="nobody.weight"):
        load_strictly(experiment.model.build(), weights, where="test")
    weights = dict(backbone.state_dict())
    gone = next(iter(weights))
    del weights[gone]
    with pytest.raises(ValueError, match=gone):
        load_strictly(experiment.model.build(), weights, where="test")
