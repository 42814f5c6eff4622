"""UniAVGen's own promises: who reads what and when, what stays untouched, the face, guidance, sizes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from phonofilm.architectures.uniavgen import ByteUniAVGen, Interaction, InteractionLayer, PairedLayer
from phonofilm.diffusion.guidance import guided
from phonofilm.diffusion.losses import FaceLoss
from phonofilm.diffusion.sampling import sigmas
from phonofilm.diffusion.tasks import T2AV, Pair, compose
from phonofilm.diffusion.tokens import positions
from phonofilm.encoders import text
from phonofilm.network.alignment import MaskedWindow, Ramp, ReplicatedWindow, group_by_frame, group_by_length
from phonofilm.network.blocks import Hidden
from phonofilm.network.context import ByteText, CharacterContext, CharacterText, without_positions
from phonofilm.network.layers import CrossAttention, Rope, attend, rope, rotate
from phonofilm.network.ports import StreamConfig, WanTime
from phonofilm.recipes.lookup import find_recipe
from phonofilm.recipes.uniavgen import RECIPES
from phonofilm.types import CLOSED, AVOutput, Batch, Grid, IndexClock, Layout, Links, Prompt, Tokens

VIDEO, AUDIO = Grid(21, 2, 3, 1 / 16, 4 / 16), Grid(506, 1, 1, 0.01, 0.01)
CPU = torch.device("cpu")
SPEC = Rope(sizes=(4, 2, 2))
STREAM = {"width": 16, "heads": 2, "mlp": 24, "rope": SPEC, "time": WanTime()}
SMALL = ByteUniAVGen(
    video=StreamConfig(channels=6, **STREAM),
    audio=StreamConfig(channels=5, **STREAM),
    text=ByteText(fields=("speech",), characters=text.NUM_IDS, space=text.SPACE, inner=8),
    layers=(InteractionLayer, PairedLayer),
    interaction=Interaction(
        window=MaskedWindow(0.125), seen=Ramp(), space=SPEC, place=replace(SPEC, scale=(100.0, 1.0, 1.0))
    ),
)


def random(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


def hidden(grid, refs=0, seed=0):
    """A stream of width 16 with reference tokens, its first frame given."""
    generator = torch.Generator().manual_seed(seed)
    pos = positions(grid, refs=refs)[None]
    tokens = torch.arange(pos.shape[1])
    empty = torch.zeros(1, 0, dtype=torch.bool)
    return Hidden(
        x=torch.randn(1, pos.shape[1], 16, generator=generator),
        time=torch.randn(1, 2, 7 * 16, generator=generator),
        given=((tokens < grid.rows * grid.columns) | (tokens >= grid.tokens))[None],
        rotation=rope(pos, SPEC),
        seconds=pos[..., 0],
        grid=grid,
        ctx=without_positions(torch.zeros(1, 0, 16), empty),
    )


@pytest.fixture(scope="module")
def layer():
    return random(InteractionLayer(SMALL, CrossAttention, 0))


def met(layer, video, audio):
    """The exchange alone, without the towers."""
    face = layer.face(video)
    return layer.a2v(video, audio, face).x, layer.v2a(audio, video, face).x


def test_the_releases_windows():
    window = ReplicatedWindow(2)(VIDEO, AUDIO)
    rows = {0: (-37, 14), 1: (-6, 45), 2: (19, 70), 19: (444, 495), 20: (469, 519)}
    for frame, (low, high) in rows.items():
        full = [min(max(j, 0), 505) for j in range(low, high)]
        assert window.tokens[frame] == full + full[-1:] * (51 - len(full))
    assert {len(row) for row in window.tokens} == {51}
    assert len(set(window.tokens[5]) & set(window.tokens[6])) == 26
    assert {j for row in window.tokens for j in row} == set(range(506))


@pytest.mark.parametrize(
    ("video", "audio"),
    [
        (VIDEO, AUDIO),
        (Grid(13, 4, 4, 1 / 24, 4 / 24), Grid(64, 1, 1, 0.032, 0.032)),
        (Grid(1, 4, 4, 1 / 24, 4 / 24), Grid(2, 1, 1, 0.032, 0.032)),
        (Grid(5, 1, 1, 1 / 24, 4 / 24), Grid(3, 1, 1, 0.032, 0.032)),
    ],
)
def test_windows_hold_what_sounds_while_a_frame_is_shown(video, audio):
    window = MaskedWindow(0.125)(video, audio)
    start = 0.0
    for frame in range(video.frames):
        end = start + (video.step if frame else video.first)
        heard = {j for j, true in zip(window.tokens[frame], window.mask[frame]) if true}
        touches = {
            j
            for j in range(audio.frames)
            if j * audio.step < end + 0.125 - 1e-6 and (j + 1) * audio.step > start - 0.125 + 1e-6
        }
        assert heard == touches or (not touches and heard == {audio.frames - 1})
        for j, place in zip(window.tokens[frame], window.places[frame]):
            assert place == pytest.approx((j + 0.5) * audio.step - start + 0.125)
        start = end
    assert {j for row in window.tokens for j in row} == set(range(audio.frames))


def test_release_windows_of_one_frame_exist():
    assert len(ReplicatedWindow(2)(Grid(1, 1, 1, 1 / 16, 1 / 4), Grid(7, 1, 1, 0.01, 0.01)).tokens) == 1


def test_an_audio_token_sees_the_picture_at_its_own_time():
    """A picture that is the seconds of its pixel frames' middles is seen as those seconds, within a latent frame."""
    video, audio = Grid(13, 1, 1, 1 / 24, 1 / 24), Grid(50, 1, 1, 0.01, 0.01)
    for token, (frames, weights) in enumerate(Ramp()(video, audio)):
        seen = sum((frame + 0.5) / 24 * weight for frame, weight in zip(frames, weights))
        assert seen == pytest.approx(min(max((token + 0.5) / 100, 0.5 / 24), 12.5 / 24), abs=1e-6)
        assert sum(weights) == pytest.approx(1)


def test_most_tokens_see_one_latent_frame():
    seen = Ramp()(VIDEO, AUDIO)
    assert sum(weights[1] == 0 for _, weights in seen) / 506 == pytest.approx(0.75, abs=0.02)
    assert all(0 <= b - a <= 1 for (a, b), _ in seen)
    groups = group_by_frame(seen, CPU)
    assert len(groups.frames) == sum(map(len, groups.tokens)) < 506 / 3
    assert sum(tokens.numel() for tokens in groups.tokens) < 506 * 1.2
    asked = torch.cat([tokens.flatten() for tokens in groups.tokens])
    assert asked[groups.back].tolist() == list(range(506))
    rows = [set(row) for tokens in groups.tokens for row in tokens.tolist()]
    for row, frames, weights in zip(rows, groups.frames.tolist(), groups.weights.tolist()):
        assert {seen[token].frames for token in row} == {tuple(frames)}
        assert weights == pytest.approx(seen[min(row)].weights)


@pytest.mark.parametrize("window", [MaskedWindow(0.125), ReplicatedWindow(2)])
def test_windows_of_one_length_are_heard_together(window):
    made = window(VIDEO, AUDIO)
    groups, back = group_by_length(made, CPU)
    assert torch.cat([group.frames for group in groups])[back].tolist() == list(range(21))
    assert len({group.tokens.shape[1] for group in groups}) == len(groups) < 5
    for group in groups:
        for frame, tokens, places in zip(group.frames.tolist(), group.tokens.tolist(), group.places.tolist()):
            kept = made.mask[frame] if made.mask else [True] * len(tokens)
            assert tokens == [token for token, true in zip(made.tokens[frame], kept) if true]
            assert places == pytest.approx([place for place, true in zip(made.places[frame], kept) if true])


def test_projecting_first_is_blending_first(layer):
    video, audio = hidden(VIDEO), hidden(AUDIO, seed=1)
    _, ours = met(layer, video, audio)
    reader, face = layer.v2a, layer.face(video)
    frames = (video.x * face.unsqueeze(-1)).unflatten(1, (21, 6))
    weights = torch.zeros(506, 21)
    for token, (pair, shares) in enumerate(Ramp()(VIDEO, AUDIO)):
        for frame, share in zip(pair, shares):
            weights[token, frame] += share
    blended = torch.einsum("jt,btnd->jbnd", weights, frames).squeeze(1)
    p = reader.projection
    where = rope(F.pad(torch.cartesian_prod(torch.arange(2.0), torch.arange(3.0)), (1, 0))[None], SPEC)
    saw = attend(p.queries(audio.x).transpose(0, 1), rotate(p.keys(blended), where), p.values(blended))
    expected = torch.where(audio.given[..., None], audio.x, audio.x + reader.out(saw).transpose(0, 1))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_references_and_given_tokens_stay_bit_by_bit(layer):
    video, audio = hidden(VIDEO, refs=6), hidden(AUDIO, refs=20, seed=1)
    for before, after in zip((video, audio), met(layer, video, audio)):
        assert torch.equal(after[before.given], before.x[before.given])
        assert not (after == before.x)[~before.given].all(dim=-1).any()


def test_references_are_not_read_and_given_tokens_are(layer):
    video, audio = hidden(VIDEO, refs=6), hidden(AUDIO, refs=20, seed=1)
    plain = met(layer, video, audio)
    for token, read in ((510, False), (0, True)):
        x = audio.x.clone()
        x[:, token] += 1
        assert torch.equal(met(layer, video, replace(audio, x=x))[0], plain[0]) != read
    for token, read in ((VIDEO.tokens, False), (0, True)):
        x = video.x.clone()
        x[:, token] += 1
        assert torch.equal(met(layer, replace(video, x=x), audio)[1], plain[1]) != read


def test_sound_that_comes_a_latent_frame_later_is_heard_a_latent_frame_later(layer):
    audio = hidden(AUDIO, seed=1)
    still = hidden(VIDEO)
    one = still.x[:, :6].repeat(1, 21, 1)
    video = replace(still, x=one, given=torch.zeros_like(still.given))
    heard = met(layer, video, audio)[0] - one
    later = met(layer, video, replace(audio, x=audio.x.roll(25, dims=1)))[0] - one
    heard, later = (x.unflatten(1, (21, 6)) for x in (heard, later))
    torch.testing.assert_close(later[:, 3:19], heard[:, 2:18], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(later[:, 3:19], heard[:, 3:19], atol=1e-2)


def test_a_frame_hears_nothing_outside_its_window(layer):
    video, audio = hidden(VIDEO), hidden(AUDIO, seed=1)
    x = audio.x.clone()
    x[:, 400:] += 1
    changed = (met(layer, video, replace(audio, x=x))[0] != met(layer, video, audio)[0]).any(-1).unflatten(1, (21, 6))
    # Frame i >= 1 ends at 1/16 + i/4 s and hears 1/8 s more: 4 s is first heard by frame 16.
    assert changed.any(-1).squeeze(0).nonzero().flatten().tolist() == list(range(16, 21))


def test_without_a_face_neither_stream_gets_more_than_a_constant(layer):
    video, audio = hidden(VIDEO), hidden(AUDIO, seed=1)
    blind = torch.zeros(1, VIDEO.tokens)
    brought = (layer.a2v(video, audio, blind).x - video.x)[~video.given]
    torch.testing.assert_close(brought, layer.a2v.out.bias.expand_as(brought), atol=1e-5, rtol=1e-4)
    brought = (layer.v2a(audio, video, blind).x - audio.x)[~audio.given]
    torch.testing.assert_close(brought, brought[:1].expand_as(brought), atol=1e-4, rtol=1e-4)


def inputs(level=0.6):
    layout = Layout(Grid(3, 2, 2, 1 / 24, 4 / 24), Grid(12, 1, 1, 0.03125, 0.03125))
    noise = Pair(torch.randn(1, 12, 6), torch.randn(1, 12, 5))
    sigma = torch.full((1,), level)
    cond = {name: text.ByteEncoder(field)([Prompt(speech=(("", "bin blue"),))]) for name, field in FIELDS.items()}
    return compose(T2AV, layout, noise, noise, Pair(sigma, sigma), cond)


FIELDS = {"speech": text.speech, "scene": text.scene, "sound": text.sound, "nothing": text.nothing}


def test_fresh_weights_are_two_strangers():
    """What is exchanged starts at zero; so guidance by links is guidance by text alone."""
    torch.manual_seed(0)
    network = SMALL.build()
    for port in (network.video, network.audio):
        torch.nn.init.normal_(port.leave_x.weight)
    input = inputs()
    one, other = network(input), network(replace(input, links=CLOSED))
    assert torch.equal(one.video, other.video)
    assert torch.equal(one.audio, other.audio)
    assert one.video.abs().max() > 0
    assert set(one.aux) == {"face.0"}
    assert other.aux == {}


def test_guidance_is_by_links_and_text_early_and_by_text_alone_later():
    experiment = find_recipe("uniavgen_paper")
    levels = sigmas(experiment.sampling.steps, experiment.sampling.shift)[:-1].tolist()
    first, second = experiment.guidance
    assert [first.applies(level) for level in levels] == [True] * 25 + [False] * 25
    assert [second.applies(level) for level in levels] == [False] * 25 + [True] * 25
    calls = []

    def model(input):
        calls.append((input.links, input.skip))
        return AVOutput(video=input.video.x, audio=input.audio.x)

    empty = {name: inputs().cond["nothing"] for name in ("caption", "caption.negative", "speech", "speech.negative")}
    for level in (0.9, 0.5):
        guided(model, *experiment.guidance)(replace(inputs(level=level), cond=empty))
    skip = frozenset({11})
    assert calls == [(Links(), frozenset()), (CLOSED, skip), (Links(), frozenset()), (Links(), skip)]


def test_the_face_loss_is_a_mean_square_that_fades():
    input = inputs()
    region = torch.zeros(1, 12, 4)
    region[:, 0] = 1.0
    region[:, 1, :2] = 1.0
    batch = Batch(video=input.video.x, audio=input.audio.x, regions={"face": region})
    masks = {"face.0": torch.zeros(1, 12), "face.1": torch.full((1, 12), 0.5), "other": torch.ones(1)}
    output = AVOutput(video=input.video.x, audio=input.audio.x, aux=masks)
    loss = FaceLoss(weight=0.1, horizon=100)
    error = ((1 + 0.25) / 12 + (11 * 0.25) / 12) / 2
    for step, weight in ((0, 0.1), (50, 0.05), (100, 0.0), (200, 0.0)):
        assert loss(input, output, batch, step)["face"].item() == pytest.approx(weight * error)
    assert loss(input, replace(output, aux={}), batch, 0)["face"].item() == 0.0
    with pytest.raises(ValueError, match="no effect"):
        FaceLoss(horizon=0)


def characters(rows, lengths):
    torch.manual_seed(0)
    numbers = CharacterText(caption=("caption", 3), speech="speech", characters=9, inner=8, depth=2)
    context = random(CharacterContext(numbers, 4, 8, Rope(sizes=(8, 0, 0))))
    mask = torch.arange(len(rows[0])) < torch.tensor(lengths)[:, None]
    input = inputs()
    grid = Grid(7, 1, 1, 1.0, 1.0)
    pos = positions(grid, IndexClock(), refs=5)[None]
    input = replace(input, audio=replace(input.audio, pos=pos, grid=grid))
    caption = Tokens(x=torch.zeros(len(rows), 1, 3), mask=torch.ones(len(rows), 1, dtype=torch.bool))
    return context(replace(input, cond={"caption": caption, "speech": Tokens(x=torch.tensor(rows), mask=mask)}))[1]


def test_padding_of_a_batch_changes_no_character_and_fillers_count():
    alone, padded = characters([[1, 2, 3, 0]], [4]), characters([[1, 2, 3, 0, 0, 0]], [4])
    torch.testing.assert_close(alone.x, padded.x[:, :4])
    assert alone.x[:, 3].abs().max() == 0
    assert alone.mask is None
    assert not torch.allclose(characters([[1, 2, 3]], [3]).x, alone.x[:, :3])


def test_characters_start_with_the_reference_voice():
    expected = rope(F.pad(torch.arange(-5.0, -1.0)[:, None], (0, 2))[None], Rope(sizes=(8, 0, 0)))
    torch.testing.assert_close(characters([[1, 2, 3, 0]], [4]).rotation, expected)


@pytest.mark.parametrize(("name", "other"), [("uniavgen_study", "jova_study"), ("uniavgen_pocket", "jova_pocket")])
def test_sizes_match_jova(name, other):
    counts = []
    for recipe in (name, other):
        with torch.device("meta"):
            counts.append(sum(p.numel() for p in find_recipe(recipe).model.build().parameters()))
    assert counts[0] == pytest.approx(counts[1], rel=0.05)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_whole(name):
    experiment = find_recipe(name)
    assert experiment.name == name
    assert {loss.region for loss in experiment.losses if isinstance(loss, FaceLoss)} <= set(experiment.regions)
