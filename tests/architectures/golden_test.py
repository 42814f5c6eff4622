"""Ten training steps of every *_study recipe on a fixed toy set: refactoring must not change the losses.

A change that is meant to alter numbers rewrites tests/golden with ``python tests/architectures/golden_test.py`` and
says why.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch

from phonofilm.diffusion.losses import total
from phonofilm.diffusion.tasks import Pair, compose
from phonofilm.network.ports import DiTTime, LinearEmbed, Port, zeroed
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.types import Batch, Grid, Layout, Prompt

GOLDEN = Path(__file__).parents[1] / "golden"
RECIPES = [name for name in recipe_names() if name.endswith("_study")]
LAYOUT = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(12, 1, 1, 0.03125, 0.03125))


class DrawnAsNoted(Port):
    """A port whose fresh weights are drawn as they were when the losses were noted.

    Ports were then subclasses of each other, which drew layers that the next one replaced. A port draws nothing in vain
    now, so that other draws would follow it and no loss would be the same.
    """

    def __init__(self, config, time=None):
        super().__init__(replace(config, embed=LinearEmbed(), pooled=None))
        self.config, text = config, config.pooled.channels if config.pooled else 0
        if config.embed != LinearEmbed():
            self.enter_x = config.embed.build(config.channels + config.beside, config.width)
        if text:
            self.pooled_x = zeroed(torch.nn.Linear(text, config.width, bias=False))
        if text and isinstance(config.time, DiTTime):
            self.pooled = zeroed(torch.nn.Linear(text, config.time.width, bias=False))
        elif text:
            self.time = config.time.build(config.width, text)
        if time is not None:
            self.time = time


def losses(name):
    """Total loss of ten AdamW steps in float32 on one thread."""
    experiment = find_recipe(name)
    torch.manual_seed(0)
    with mock.patch.object(sys.modules[type(experiment.model).__module__], "Port", DrawnAsNoted):
        backbone = experiment.model.build()
    optimizer = torch.optim.AdamW(backbone.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    sizes = (
        (LAYOUT.video.tokens, experiment.model.video.channels),
        (LAYOUT.audio.tokens, experiment.model.audio.channels),
    )
    clean = Pair(*(torch.randn(2, *size, generator=generator) for size in sizes))
    cond = experiment.encode([Prompt(scene="a man", sound="low", speech=(("", "bin blue"),)), Prompt(scene="a ball")])
    cells = experiment.patch[0] * experiment.patch[1]
    regions = {
        name: (torch.rand(2, LAYOUT.video.tokens, cells, generator=generator) > 0.7).float()
        for name in experiment.regions
    }
    batch = Batch(video=clean.video, audio=clean.audio, regions=regions)
    found = []
    for step in range(10):
        noise = Pair(*(torch.randn(2, *size, generator=generator) for size in sizes))
        sigma = experiment.density(2, generator)
        task = experiment.tasks[step % len(experiment.tasks)][0]
        input = compose(task, LAYOUT, clean, noise, Pair(sigma, sigma), cond)
        for drop in experiment.dropout:
            input = drop.edit.rows(input, torch.tensor([step % 3 == 0, False]))
        loss = sum((total(term(input, backbone(input), batch, step)) for term in experiment.losses), torch.zeros(()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_ten_steps_reproduce_the_golden_losses(name):
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    assert losses(name) == pytest.approx(golden, rel=1e-4)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in RECIPES:
        (GOLDEN / f"{name}.json").write_text(json.dumps(losses(name)) + "\n")
