"""Attention gets a mask only where some keys do not count: flash kernels take none. Every system, in every direction.

diffusers' _native_flash refuses masks and runs on a CPU, too.
"""

from dataclasses import replace

import paper_small
import pytest
import torch
from diffusers.models.attention_dispatch import attention_backend
from torch.utils._pytree import tree_map

from phonofilm.diffusion.tasks import T2AV, InStream, Pair, compose, continue_after, placed
from phonofilm.network.layers import attend, needed
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.recipes.uniavgen import seconds_interaction
from phonofilm.types import Grid, Layout, Links, Prompt, Tokens

STUDIES = [name for name in recipe_names() if name.endswith("_study")]
LAYOUT = Layout(Grid(5, 2, 2, 1 / 24, 4 / 24), Grid(22, 1, 1, 0.03125, 0.03125))
PACED = Layout(LAYOUT.video, Grid(5, 1, 1, 0.144, 0.144))
"""As many audio tokens as latent frames: what UniVerse-1's released layers read."""
FULL = Prompt(scene="a woman speaks here", sound="a high voice there", speech=(("", "set white now"),))
"""Words fill their tokens, which come in fours."""
SHORT = Prompt(scene="a man", speech=(("", "bin blue"),))
LINKS = [Links(), Links(a2v=True, v2a=False), Links(a2v=False, v2a=True), Links(a2v=False, v2a=False)]


def network(experiment):
    """All weights at random, so that nothing hides behind outputs that start at zero."""
    torch.manual_seed(0)
    backbone = experiment.model.build().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    return backbone


def made(experiment, cond, batch, task=T2AV, layout=LAYOUT):
    """Noisy tokens, the same for each sample whatever the batch."""
    streams = ((layout.video, experiment.model.video), (layout.audio, experiment.model.audio))
    drawn = torch.Generator().manual_seed(1)
    clean, noise = (
        Pair(*(torch.randn(2, grid.tokens, stream.channels, generator=drawn)[:batch] for grid, stream in streams))
        for _ in range(2)
    )
    level = torch.full((batch,), 0.6)
    task = placed(task, InStream(empty=experiment.model.video.beside))
    return compose(task, layout, clean, noise, Pair(level, level), cond)


def features(experiment, length=6):
    """Conditions of a system in its paper's layout, in which every token counts."""
    every, drawn = torch.ones(1, length, dtype=torch.bool), torch.Generator().manual_seed(2)
    cond = {name: torch.randn(1, length, 12, generator=drawn) for name in experiment.model.conditions}
    ids = {"speech": torch.arange(length)[None], "sentinels": (torch.arange(length) == 2)[None].long()}
    cond |= {name: ids[name] for name in cond.keys() & ids.keys()}
    cond = {name: Tokens(x=x, mask=every) for name, x in cond.items()}
    if "voice" in cond:
        voice = torch.randn(1, 1, paper_small.SPEAKER, generator=drawn)
        cond["voice"] = Tokens(x=voice, mask=every[:, :1])
    return cond


def same_without_masks(backbone, input):
    """A pass under a backend that refuses masks gives what the default backend gives."""
    expected = backbone(input)
    with attention_backend("_native_flash"):
        found = backbone(input)
    for one, other in ((found.video, expected.video), (found.audio, expected.audio)):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", STUDIES)
def test_every_system_runs_where_masks_are_refused(name):
    experiment = find_recipe(name)
    backbone = network(experiment)
    for task in (T2AV, continue_after(0.05)):
        input = made(experiment, experiment.encode([FULL]), 1, task)
        for links in LINKS:
            same_without_masks(backbone, replace(input, links=links))


@pytest.mark.parametrize("system", paper_small.RECIPES)
def test_every_system_in_its_papers_layout_runs_where_masks_are_refused(system):
    experiment = paper_small.RECIPES[system]()
    layout = PACED if system == "universe1" else LAYOUT
    input = made(experiment, features(experiment), 1, layout=layout)
    same_without_masks(network(experiment), input)


def test_windows_of_true_seconds_run_where_masks_are_refused():
    experiment = paper_small.uniavgen()
    rope = paper_small.ROPE
    interaction = replace(seconds_interaction(), space=rope, place=replace(rope, scale=(100.0, 1.0, 1.0)))
    experiment = replace(experiment, model=replace(experiment.model, interaction=interaction))
    same_without_masks(network(experiment), made(experiment, features(experiment), 1))


@pytest.mark.parametrize("name", STUDIES)
def test_padding_changes_nothing_and_is_never_dropped_in_silence(name):
    experiment = find_recipe(name)
    backbone = network(experiment)
    input = made(experiment, experiment.encode([FULL, SHORT]), 2)
    both = backbone(input)
    for row, prompt in enumerate((FULL, SHORT)):
        alone = tree_map(lambda x, row=row: x[row : row + 1], replace(input, cond={}))
        found = backbone(replace(alone, cond=experiment.encode([prompt])))
        torch.testing.assert_close(found.video, both.video[row : row + 1], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.audio, both.audio[row : row + 1], rtol=1e-4, atol=1e-5)
    with attention_backend("_native_flash"), pytest.raises(ValueError, match="attn_mask"):
        backbone(input)


def test_a_mask_is_needed_where_some_tokens_do_not_count():
    every = torch.ones(2, 5, dtype=torch.bool)
    some = every.clone()
    some[1, 4] = False
    assert needed(every) is None
    assert needed(None) is None
    assert needed(some) is some
    q, k, v = (torch.randn(2, 5, 2, 8) for _ in range(3))
    assert torch.equal(attend(q, k, v, every), attend(q, k, v))
