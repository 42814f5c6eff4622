"""Guidance against its formula, on a model whose velocity is known."""

import pytest
import torch

from phonofilm.diffusion.guidance import Both, Guidance, Skipping, Swap, guided, together, unlinked
from phonofilm.diffusion.tasks import T2AV, Pair, compose
from phonofilm.types import CLOSED, AVOutput, Grid, Layout, Tokens

pytestmark = pytest.mark.quick

LAYOUT = Layout(Grid(2, 1, 1, 1 / 24, 4 / 24), Grid(3, 1, 1, 0.032, 0.032))


def tokens(value, length=2):
    return Tokens(x=torch.full((2, length, 1), value), mask=torch.ones(2, length, dtype=torch.bool))


@pytest.fixture
def input():
    pair = Pair(torch.zeros(2, 2, 4), torch.zeros(2, 3, 4))
    level = torch.full((2,), 0.5)
    cond = {"text": tokens(3.0), "text.negative": tokens(1.0, 4)}
    return compose(T2AV, LAYOUT, pair, pair, Pair(level, level), cond)


def model(input):
    """A velocity that says what it was told: the mean of the text, ten more with open links, a hundred a skip."""
    value = _mean(input.cond["text"]) + 10.0 * input.links.a2v + 100.0 * len(input.skip)
    return AVOutput(video=value.expand_as(input.video.x), audio=value.expand_as(input.audio.x))


def _mean(text):
    counted = text.x * text.mask.unsqueeze(-1)
    return counted.sum(dim=(1, 2), keepdim=True) / text.mask.sum(dim=1).view(-1, 1, 1)


def value(output):
    return round(output.video.mean().item(), 4), round(output.audio.mean().item(), 4)


def test_no_terms_change_nothing(input):
    assert value(guided(model)(input)) == value(model(input)) == (13.0, 13.0)


def test_each_stream_has_its_weight(input):
    term = Guidance(contrast=Swap((("text", "text.negative"),)), video_scale=3.0, audio_scale=1.5)
    assert value(guided(model, term)(input)) == (13.0 + 2 * 2, 13.0 + 0.5 * 2)


def test_terms_add_up(input):
    terms = (
        Guidance(contrast=Swap((("text", "text.negative"),)), video_scale=2.0, audio_scale=2.0),
        Guidance(contrast=unlinked, video_scale=2.0, audio_scale=1.0),
        Guidance(contrast=Both((unlinked, Skipping(frozenset({4})))), video_scale=1.1, audio_scale=1.0),
    )
    assert value(guided(model, *terms)(input)) == (13.0 + 2 + 10 + 0.1 * (13 - 103), 13.0 + 2)


def test_a_term_counts_only_at_its_noise_levels(input):
    calls = []

    def counting(input):
        calls.append(input.links)
        return model(input)

    late = Guidance(contrast=unlinked, video_scale=2.0, audio_scale=2.0, sigmas=(0.0, 0.4))
    at_edge = Guidance(contrast=unlinked, video_scale=2.0, audio_scale=2.0, sigmas=(0.2, 0.5))
    assert value(guided(counting, late)(input)) == (13.0, 13.0)
    assert len(calls) == 1
    assert value(guided(counting, at_edge)(input)) == (23.0, 23.0)
    assert calls[-1] == CLOSED


def test_finish_sees_the_plain_and_the_guided_velocity(input):
    term = Guidance(contrast=unlinked, video_scale=2.0, audio_scale=2.0)

    def halfway(input, plain, moved):
        return AVOutput(video=(plain.video + moved.video) / 2, audio=moved.audio)

    assert value(guided(model, term, finish=halfway)(input)) == (18.0, 23.0)


def test_dropout_swaps_rows_alone(input):
    swapped = Swap((("text", "text.negative"),)).rows(input, torch.tensor([True, False]))
    text = swapped.cond["text"]
    assert text.mask.sum(dim=1).tolist() == [4, 2]
    assert text.x[0].unique().tolist() == [1.0]
    assert text.x[1, :2].unique().tolist() == [3.0]


def test_passes_of_one_kind_share_a_call_and_change_nothing():
    """A real network, so that padding and batching are what sampling does."""
    from phonofilm.recipes.jova import jova_study
    from phonofilm.types import Prompt

    experiment = jova_study()
    torch.manual_seed(0)
    backbone = experiment.model.build().eval().requires_grad_(False)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.08)
    layout = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(12, 1, 1, 0.03125, 0.03125))
    noise = Pair(torch.randn(2, 12, 256), torch.randn(2, 12, 20))
    ones = torch.ones(2)
    prompts = [Prompt(scene="a man", speech=(("", "bin blue"),)), Prompt(scene="a woman with red hair")]
    start = compose(experiment.tasks[0][0], layout, noise, noise, Pair(ones, ones), experiment.encode(prompts))
    calls = []

    def counting(input):
        calls.append(len(input.video.x))
        return backbone(input)

    edits = [lambda input: input, experiment.guidance[0].contrast, unlinked, Skipping(frozenset({0}))]
    shared = together(counting, [edit(start) for edit in edits])
    assert calls == [4, 2, 2]
    for output, edit in zip(shared, edits):
        alone = backbone(edit(start))
        torch.testing.assert_close(output.video, alone.video, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(output.audio, alone.audio, rtol=1e-4, atol=1e-4)
