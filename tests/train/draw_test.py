"""What a step draws depends on the seed and the step alone, not on ranks, rounds or what came before."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from training import Noise, tiny

from phonofilm.diffusion.tasks import CONTINUE, RETAKE, Reference, placed, voiced
from phonofilm.errors import UserError
from phonofilm.recipes.experiment import LinkDropout
from phonofilm.train import draw, optim
from phonofilm.train.ema import Average
from phonofilm.types import CLOSED, Links, Tokens

pytestmark = pytest.mark.quick

DATA = Noise(size=40)


def test_a_step_is_a_function_of_seed_and_step():
    experiment = tiny()
    one, again = (draw.plan(experiment, DATA.buckets, 3, 17) for _ in range(2))
    assert (one.indices, one.num_frames, one.task) == (again.indices, again.num_frames, again.task)
    assert torch.equal(one.sigma, again.sigma)
    assert draw.plan(experiment, DATA.buckets, 3, 18).indices != one.indices
    assert not torch.equal(draw.plan(experiment, DATA.buckets, 4, 17).sigma, one.sigma)


def test_rows_are_the_same_however_they_are_shared_out():
    experiment = tiny()
    plan = draw.plan(experiment, DATA.buckets, 3, 5)
    whole, batch = draw.assemble(experiment, DATA, plan, range(4))
    for rows in (range(0, 2), range(2, 4)):
        part, some = draw.assemble(experiment, DATA, plan, rows)
        picked = slice(rows.start, rows.stop)
        for name in ("video", "audio"):
            assert torch.equal(getattr(part, name).x, getattr(whole, name).x[picked])
            assert torch.equal(getattr(part, name).sigma, getattr(whole, name).sigma[picked])
            assert torch.equal(getattr(some, name), getattr(batch, name)[picked])
        assert torch.equal(some.regions["sounding"], batch.regions["sounding"][picked])


def test_ranks_and_rounds_cover_the_batch_once():
    rows = [row for rank in range(2) for part in draw.rows_of(12, rank, 2, 3) for row in part]
    assert sorted(rows) == list(range(12))
    with pytest.raises(ValueError, match="12 does not divide into 5"):
        draw.rows_of(12, 0, 5, 1)


def test_every_clip_comes_once_before_any_comes_again():
    experiment = tiny()
    seen = Counter(i for step in range(30) for i in draw.plan(experiment, {5: 40}, 0, step).indices)
    assert set(seen.values()) == {3}
    assert len(seen) == 40


def test_shares_of_tasks_buckets_and_dropout_hold():
    experiment = tiny()
    plans = [draw.plan(experiment, {5: 30, 9: 10}, 0, step) for step in range(600)]
    assert sum(plan.task.name == "t2av" for plan in plans) / 600 == pytest.approx(0.75, abs=0.06)
    assert sum(plan.num_frames == 9 for plan in plans) / 600 == pytest.approx(0.25, abs=0.06)
    dropped = torch.stack([plan.dropped[0] for plan in plans]).float().mean()
    assert dropped.item() == pytest.approx(0.1, abs=0.03)


def test_links_are_closed_on_their_shares_of_the_steps():
    half = LinkDropout(links=Links(a2v=False), share=0.5)
    experiment = replace(tiny(), link_dropout=(half, LinkDropout(links=CLOSED, share=0.2)))
    links = [draw.plan(experiment, {5: 40}, 0, step).links for step in range(600)]
    assert links == [draw.plan(experiment, {5: 40}, 0, step).links for step in range(600)]
    shares = {kind: count / 600 for kind, count in Counter(links).items()}
    assert shares.keys() == {Links(), Links(a2v=False), CLOSED}
    assert shares[CLOSED] == pytest.approx(0.2, abs=0.05)
    assert shares[Links()] == pytest.approx(0.4, abs=0.06)
    for step in range(4):
        plan = draw.plan(experiment, {5: 40}, 0, step)
        assert draw.assemble(experiment, DATA, plan, range(2))[0].links == plan.links


def test_a_link_dropout_opens_nothing():
    alone = replace(tiny().tasks[0][0], links=Links(a2v=False))
    experiment = replace(tiny(), tasks=((alone, 1.0),), link_dropout=(LinkDropout(links=Links(v2a=False), share=1.0),))
    assert draw.plan(experiment, {5: 40}, 0, 0).links == CLOSED
    with pytest.raises(ValueError, match="no effect"):
        LinkDropout(links=Links(), share=0.1)


def test_both_streams_share_a_level_and_lie_on_the_path():
    experiment = tiny()
    plan = draw.plan(experiment, {5: 40}, 3, 1)
    input, batch = draw.assemble(experiment, DATA, plan, range(4))
    assert torch.equal(input.video.sigma, input.audio.sigma)
    level = input.audio.sigma[:, None, None]
    noise = (input.audio.x - (1 - level) * batch.audio) / level
    assert noise.std().item() == pytest.approx(1.0, abs=0.15)
    assert len({tuple(row.flatten()[:3].tolist()) for row in noise}) == 4


def test_dropped_samples_read_nothing():
    experiment = tiny()
    drop = replace(experiment.dropout[0], share=1.0)
    experiment = replace(experiment, dropout=(drop,))
    plan = draw.plan(experiment, {5: 40}, 0, 0)
    input, _ = draw.assemble(experiment, DATA, plan, range(4))
    assert set(input.cond) == {"scene", "sound", "speech"}
    assert all(tokens.mask.sum(dim=1).tolist() == [1] * 4 for tokens in input.cond.values())


def test_padding_does_not_count():
    tokens = Tokens(x=torch.ones(2, 5, dtype=torch.long), mask=torch.ones(2, 5, dtype=torch.bool))
    longer = draw.padded(tokens, 16)
    assert longer.x.shape == (2, 16)
    assert longer.mask.sum().item() == 10
    assert draw.padded(longer, 16).x.shape == (2, 16)


def test_the_rate_warms_up_and_falls():
    settings = replace(tiny().optim, lr=1.0, warmup=10, final=0.1)
    rates = [optim.rate(settings, step, 110) for step in range(111)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert optim.rate(settings, 500, 110) == pytest.approx(0.1)


def test_norms_biases_and_embeddings_do_not_decay():
    backbone = tiny().model.build()
    decayed, free = optim.parameter_groups(backbone, 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    names = {p: name for name, p in backbone.named_parameters()}
    assert len(decayed["params"]) + len(free["params"]) == len(names)
    kept = {names[p] for p in free["params"]}
    assert {"context.embed.weight", "context.field.weight", "blocks.0.video.projection.norm_q.weight"} <= kept
    assert "blocks.0.video.projection.qkv.weight" not in kept


def test_the_mean_follows_the_weights():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(layer.weight)
    average = Average(layer, 0.9)
    torch.nn.init.ones_(layer.weight)
    average.update(layer, 0)
    assert average.weights["weight"].item() == pytest.approx(0.9)  # early steps count more
    average.update(layer, 10_000)
    assert average.weights["weight"].item() == pytest.approx(0.91)
    with average.inside(layer):
        assert layer.weight.item() == pytest.approx(0.91)
    assert layer.weight.item() == 1.0


def test_spans_are_drawn_by_step_and_known_tokens_follow_them():
    experiment = tiny()
    place = experiment.tasks[0][0].place
    experiment = replace(experiment, tasks=((placed(CONTINUE, place), 0.5), (placed(RETAKE, place), 0.5)))
    plans = [draw.plan(experiment, {9: 40}, 3, step) for step in range(40)]
    assert {plan.task.name for plan in plans} == {"continue", "retake"}
    assert len({plan.task.audio for plan in plans}) == 40
    assert draw.plan(experiment, {9: 40}, 3, 7).task == plans[7].task
    input, batch = draw.assemble(experiment, DATA, plans[7], range(4))
    given = input.audio.given
    assert 0 < given.sum() < given.numel()
    assert torch.equal(input.audio.x[given], batch.audio[given])
    assert not input.video.given.any()
    assert input.video.beside.any()


def test_a_task_that_is_only_listed_is_never_drawn_and_asks_nothing_of_the_clips():
    experiment = tiny()
    listed = replace(experiment, tasks=(*experiment.tasks, (voiced(experiment.tasks[0][0], Reference()), 0.0)))
    plans = [draw.plan(listed, {9: 40}, 3, step) for step in range(30)]
    assert {plan.task.name for plan in plans} == {"t2av", "i2av"}
    assert draw.assemble(listed, DATA, plans[0], range(2))[0].audio.x.shape[1] == 12


def test_clips_without_a_region_are_refused_with_what_to_do():
    experiment = replace(tiny(), regions=("face",))
    plan = draw.plan(experiment, DATA.buckets, 3, 0)
    with pytest.raises(UserError, match=r"needs the region 'face'.*phonofilm prepare --recipe"):
        draw.assemble(experiment, DATA, plan, range(2))
