"""Rotary positions, attention and modulation against their formulas."""

import pytest
import torch
from torch.nn import functional as F

from phonofilm.network.context import Words, evenly_spaced, words
from phonofilm.network.layers import Modulation, Rope, TimeEmbedding, attend, rope, rotate
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Prompt

pytestmark = pytest.mark.quick


def test_rotation_depends_on_distance_alone():
    spec = Rope(sizes=(8, 4, 4), scale=(6.0, 1.0, 1.0))
    q, k = torch.randn(1, 1, 2, 16), torch.randn(1, 1, 2, 16)

    def score(a, b):
        one, two = (rope(torch.tensor([[position]]), spec) for position in (a, b))
        return (rotate(q, one) * rotate(k, two)).sum(-1)

    near = score([0.5, 1.0, 2.0], [0.25, 0.0, 2.0])
    torch.testing.assert_close(score([1.5, 3.0, 5.0], [1.25, 2.0, 5.0]), near, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(score([1.5, 3.0, 5.0], [1.0, 2.0, 5.0]), near)


def test_position_zero_turns_nothing_and_scale_is_the_clock():
    spec = Rope(sizes=(4, 2, 2), scale=(6.0, 1.0, 1.0))
    x = torch.randn(1, 3, 2, 8)
    torch.testing.assert_close(rotate(x, rope(torch.zeros(1, 3, 3), spec)), x)
    plain = Rope(sizes=(4, 2, 2))
    pos = torch.rand(1, 3, 3)
    torch.testing.assert_close(rope(pos, spec), rope(pos * torch.tensor([6.0, 1, 1]), plain))


def test_odd_sizes_are_refused():
    with pytest.raises(ValueError, match="even"):
        Rope(sizes=(3, 2, 3))


def test_attention_leaves_out_masked_keys():
    q, k, v = (torch.randn(2, 5, 3, 4) for _ in range(3))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()
    found = attend(q, k, v, mask)
    scores = torch.einsum("bshe,blhe->bhsl", q, k) / 2
    weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
    torch.testing.assert_close(found, torch.einsum("bhsl,blhe->bshe", weights, v).flatten(2))


def test_given_tokens_take_the_row_of_level_zero():
    time = TimeEmbedding(16)
    rows = time(torch.tensor([0.3, 0.9]))
    torch.testing.assert_close(rows[:, 1], time(torch.zeros(2))[:, 0])
    modulation = Modulation(16, 8, 2)
    torch.nn.init.normal_(modulation.linear.weight)
    given = torch.tensor([[True, False], [False, True]])
    shift, _ = modulation(rows, given)
    expected = modulation.linear(F.silu(rows))[..., :8]
    torch.testing.assert_close(shift[0, 0], expected[0, 1])
    torch.testing.assert_close(shift[0, 1], expected[0, 0])


def test_letters_are_spread_over_the_clip_and_padding_does_not_count():
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    seconds = evenly_spaced(mask, 2.2, 0.1)[..., 0]
    torch.testing.assert_close(seconds[0], torch.tensor([0.35, 0.85, 1.35, 1.85]))
    torch.testing.assert_close(seconds[1, :2], torch.tensor([0.6, 1.6]))


def test_words_are_told_apart_at_spaces_and_padding_does_not_count():
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    space = torch.tensor([[False, True, False, False, False], [True, False, True, False, True]])
    member = words(mask, space)
    assert member.shape == (2, 4, 5)
    assert member[0, :2].tolist() == [[True, True, False, False, False], [False, False, True, False, False]]
    assert member[1].sum(dim=1).tolist() == [1, 2, 2, 0]


def test_a_word_is_the_sum_of_its_characters_by_their_places():
    torch.manual_seed(0)
    network = Words(4, 4)
    for part in (network.layer, network.out):
        part.forward = lambda x, *rest: x
    x, field = torch.randn(1, 5, 4), torch.zeros(4)
    mask = torch.tensor([[True, True, True, True, False]])
    space = torch.tensor([[False, True, False, False, False]])
    tokens, counted = network(x, field, mask, space)
    assert counted.tolist() == [[True, True, False, False]]
    for word, first in ((0, 0), (1, 2)):
        expected = (x[0, first] * network.places[0] + x[0, first + 1] * network.places[1]) / 2**0.5
        torch.testing.assert_close(tokens[0, word], expected)


def test_words_of_fresh_weights_are_far_apart():
    """Means over characters were not: 0.93 to 0.99, and training moved them closer."""
    experiment = find_recipe("jova_pocket")
    torch.manual_seed(0)
    context = experiment.model.build().context
    ids = experiment.encode([Prompt(scene="red hair"), Prompt(scene="blue hair")])["scene"]
    tokens, _, _ = context._field(0, ids, 2.0)
    assert torch.cosine_similarity(tokens[0, 0], tokens[1, 0], dim=0) < 0.7
    assert torch.cosine_similarity(tokens[0, 1], tokens[1, 1], dim=0) > 0.9
