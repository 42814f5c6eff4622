"""Optimisers: who moves which weights, how far, and that a stopped run of theirs goes on bit by bit."""

from dataclasses import replace

import pytest
import torch
from training import Noise, tiny

from phonofilm.recipes.experiment import MuonOptim, Optim, PartsOptim
from phonofilm.recipes.lookup import find_recipe, recipe_names
from phonofilm.train import optim
from phonofilm.train.loop import Origin, Watch, train

MUON = MuonOptim(lr=2e-3, warmup=2)
STUDIES = [name for name in recipe_names() if name.endswith("_study")]


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize(
    "kind", [Optim(), MUON, PartsOptim(parts=("video",), elsewhere=0.1)], ids=["adamw", "muon", "parts"]
)
def test_every_weight_is_moved_by_one_optimiser(name, kind):
    network = find_recipe(name).model.build()
    groups = [group for one in optim.optimisers(kind, network) for group in one.param_groups]
    moved = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(moved) == sorted(map(id, network.parameters()))


@pytest.mark.parametrize("name", STUDIES)
def test_hidden_matrices_are_most_of_a_network_and_read_tokens(name):
    network = find_recipe(name).model.build()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    hidden = optim.hidden_matrices(network)
    assert all(names[id(m)].startswith("blocks.") and "modulation" not in names[id(m)] for m in hidden)
    assert sum(m.numel() for m in hidden) > 0.6 * sum(p.numel() for p in network.parameters())


def test_muon_moves_along_all_directions_alike():
    """Singular values of a step lie near 1, times 0.2 times the root of the longer side (Liu et al. 2025)."""
    network = tiny().model.build()
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    still = replace(MUON, weight_decay=0.0)
    optim.move(optim.optimisers(still, network), 1e-2)
    assert all(parameter.grad is None for parameter in network.parameters())
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for matrix in optim.hidden_matrices(network):
        step = (matrix.detach() - before[names[id(matrix)]]) / (1e-2 * 0.2 * max(matrix.shape) ** 0.5)
        values = torch.linalg.svdvals(step)
        assert 0.5 < values.median() < 1.3
        assert values.max() < 1.4


def test_a_stopped_run_of_muon_goes_on_bit_by_bit(tmp_path):
    whole = train(replace(tiny(steps=5), optim=MUON), Noise(), tmp_path / "whole", origin=Origin(device="cpu"))

    def stop(step, backbone):
        raise KeyboardInterrupt

    broken = replace(tiny(steps=5, sample_every=3), optim=MUON)
    with pytest.raises(KeyboardInterrupt):
        train(broken, Noise(), tmp_path / "broken", watch=Watch(every=(stop,)), origin=Origin(device="cpu"))
    resumed = train(broken, Noise(), tmp_path / "broken", origin=Origin(device="cpu"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_named_parts_move_at_the_full_rate_and_all_else_at_a_share():
    network = tiny().model.build()
    kind = PartsOptim(weight_decay=0.0, parts=("mlp", "leave_x"), elsewhere=0.1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optim.move(optim.optimisers(kind, network), 1e-2)  # AdamW's first step is the rate itself
    for name, parameter in network.named_parameters():
        step = 1e-2 if {"mlp", "leave_x"} & set(name.split(".")) else 1e-3
        torch.testing.assert_close(parameter.detach(), before[name] - step, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="no weights in context_of_video"):
        optim.optimisers(replace(kind, parts=("mlp", "context_of_video")), network)


def test_ccls_published_rates_are_those_of_its_new_layers():
    experiment = find_recipe("ccl_paper")
    network = find_recipe("ccl_study").model.build()
    (adamw,) = optim.optimisers(experiment.optim, network)
    new = {id(p) for group in adamw.param_groups if optim.SHARE not in group for p in group["params"]}
    assert new == {id(p) for name, p in network.named_parameters() if "_context." in name}
