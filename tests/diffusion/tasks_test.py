"""What tasks give and compose puts together."""

import math
from dataclasses import replace

import pytest
import torch
from models import PLACE, Loudness, every_task

from phonofilm.diffusion.losses import FlowLoss
from phonofilm.diffusion.tasks import (
    A2V,
    CONTINUE,
    I2AV,
    NAMED,
    RETAKE,
    T2AV,
    T2V,
    V2A,
    Beside,
    Pair,
    Reference,
    Uniform,
    compose,
    continue_after,
    name_of,
    placed,
    retake,
    voiced,
)
from phonofilm.encoders.timbre import Timbres
from phonofilm.errors import UserError
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import CLOSED, Audio, AVOutput, Batch, Grid, Layout, Prompt, Span

pytestmark = pytest.mark.quick

LAYOUT = Layout(Grid(4, 2, 2, 1 / 24, 4 / 24), Grid(20, 1, 1, 0.032, 0.032))


def made(task, sigma=0.5):
    clean = Pair(torch.randn(2, 16, 6), torch.randn(2, 20, 3))
    noise = Pair(torch.randn(2, 16, 6), torch.randn(2, 20, 3))
    level = torch.full((2,), sigma)
    return compose(task, LAYOUT, clean, noise, Pair(level, level), {}), clean, noise


def test_text_to_both_generates_everything():
    input, clean, noise = made(T2AV)
    assert not input.video.given.any()
    torch.testing.assert_close(input.video.x, (clean.video + noise.video) / 2)
    torch.testing.assert_close(input.audio.x, (clean.audio + noise.audio) / 2)


def test_an_image_gives_the_first_frame():
    input, clean, _ = made(I2AV)
    assert input.video.given[0].tolist() == [True] * 4 + [False] * 12
    assert torch.equal(input.video.x[:, :4], clean.video[:, :4])
    assert not input.audio.given.any()


@pytest.mark.parametrize(("task", "whole", "other"), [(A2V, "audio", "video"), (V2A, "video", "audio")])
def test_a_whole_stream_is_given_at_level_zero(task, whole, other):
    input, clean, _ = made(task)
    assert torch.equal(getattr(input, whole).x, getattr(clean, whole))
    assert getattr(input, whole).sigma.tolist() == [0, 0]
    assert getattr(input, other).sigma.tolist() == [0.5, 0.5]


def test_an_absent_stream_has_no_tokens_and_closed_links():
    input, _, _ = made(T2V)
    assert input.audio.x.shape == (2, 0, 3)
    assert input.audio.grid.tokens == 0
    assert input.links == CLOSED
    assert input.audio.sigma.tolist() == [0, 0]


def test_continuation_and_retake_cover_whole_frames():
    video, audio = continue_after(0.21).given(LAYOUT)
    # Latent frames end at 1/24, 5/24, 9/24, 13/24 seconds: two are over by 0.21.
    assert video.sum() == 2 * 4
    assert audio.sum() == 6
    video, audio = retake(0.1, 0.3).given(LAYOUT)
    assert video.view(4, 4)[:, 0].tolist() == [True, False, False, True]
    assert audio.tolist() == [i < 3 or i >= 10 for i in range(20)]


def test_tensors_that_do_not_cover_the_layout_are_refused():
    short = Pair(torch.randn(2, 15, 6), torch.randn(2, 20, 3))
    level = torch.ones(2)
    with pytest.raises(ValueError, match="16 tokens"):
        compose(T2AV, LAYOUT, short, short, Pair(level, level), {})


def test_chance_draws_spans_inside_the_clip():
    generator = torch.Generator().manual_seed(0)
    starts = [CONTINUE.draw(2.0, generator) for _ in range(200)]
    assert all(0.4 <= start <= 1.6 and end == math.inf for start, end in starts)
    assert max(starts)[0] - min(starts)[0] > 1.0
    spans = [RETAKE.draw(2.0, generator) for _ in range(200)]
    assert all(0 <= start < end for start, end in spans)
    assert all(0.4 - 1e-6 <= end - start <= 1.2 + 1e-6 for start, end in spans if end < math.inf)
    assert any(end == math.inf for _, end in spans)
    assert any(end < math.inf for _, end in spans)
    assert Uniform(start=(0.25, 0.25), length=(0.5, 0.5))(2.0, generator) == Span(0.5, 1.5)


def test_a_kind_becomes_a_task_by_a_request_or_by_chance():
    assert T2AV.at(Span(0, 1)) is T2AV
    assert T2AV.drawn(2.0, torch.Generator()) is T2AV
    assert CONTINUE.at(Span(0.21, math.inf)) == continue_after(0.21)
    one, other = (CONTINUE.drawn(2.0, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert one.video != other.video
    assert one == CONTINUE.drawn(2.0, torch.Generator().manual_seed(1))
    with pytest.raises(ValueError, match="needs a span"):
        RETAKE.at(None)
    assert placed(CONTINUE, PLACE).at(Span(0.2, 0.4)).place == PLACE


def test_a_portrait_stands_behind_the_picture_once_more():
    task = replace(I2AV, portrait=True)
    clean, noise = (Pair(torch.randn(2, 16, 6), torch.randn(2, 20, 3)) for _ in range(2))
    level = torch.full((2,), 0.5)
    input = compose(task, LAYOUT, clean, noise, Pair(level, level), {})
    assert task.layout(LAYOUT).video_refs == 4
    assert torch.equal(input.video.x[:, 16:], clean.video[:, :4])
    assert input.video.given.sum(dim=1).tolist() == [8, 8]
    # A latent frame before the clip, with the rows and columns of the first one.
    assert torch.equal(input.video.pos[:, 16:, 1:], input.video.pos[:, :4, 1:])
    torch.testing.assert_close(input.video.pos[0, 16:, 0], torch.full((4,), -LAYOUT.video.step))
    batch = Batch(video=clean.video, audio=clean.audio, regions={})
    output = AVOutput(video=noise.video.new_zeros(2, 20, 6), audio=clean.audio)
    marred = replace(output, video=torch.where(input.video.given[..., None], 7.0, output.video))
    assert FlowLoss()(input, output, batch, 0) == FlowLoss()(input, marred, batch, 0)


def test_a_reference_voice_is_given_behind_the_sound():
    task = voiced(A2V, Reference(seconds=0.064, silence=0.032))
    layout = task.layout(LAYOUT)
    assert (layout.audio_refs, task.layout(layout)) == (3, layout)
    clean, noise = (Pair(torch.randn(2, 16, 6), torch.randn(2, 23, 3)) for _ in range(2))
    level = torch.full((2,), 0.5)
    for kind, known in ((task, 23), (voiced(T2AV, task.reference), 3)):
        input = compose(kind, LAYOUT, clean, noise, Pair(level, level), {})
        assert input.audio.given.sum(dim=1).tolist() == [known] * 2
        assert torch.equal(input.audio.x[:, 20:], clean.audio[:, 20:])
        torch.testing.assert_close(input.audio.pos[0, 20:, 0], torch.tensor([-0.096, -0.064, -0.032]))
    assert voiced(T2V, task.reference).layout(LAYOUT).audio_refs == 0


def test_tasks_have_names_by_what_they_need():
    assert [name_of(kind.needs, kind.absent) for kind in NAMED] == [kind.name for kind in NAMED]
    assert name_of(frozenset({"clip", "voice"}), frozenset()) == "continue+voice"
    assert name_of(frozenset({"video", "image"}), frozenset()) == ""


def test_a_recipe_finds_the_task_or_says_what_it_can():
    experiment = every_task()
    for kind in NAMED:
        found = experiment.task_for(kind.needs, absent=kind.absent, span=Span(0.1, 0.2))
        assert found == placed(kind, PLACE).at(Span(0.1, 0.2))
    with pytest.raises(UserError, match=r"has no task from image and video; it can make t2av \(from a prompt alone\)"):
        experiment.task_for(frozenset({"image", "video"}))
    pocket = find_recipe("jova_pocket")
    can = r"it can make t2av \(from a prompt alone\), i2av \(from image\)"
    with pytest.raises(UserError, match=rf"not trained for retake \(from clip and retake\); {can}"):
        pocket.task_for(RETAKE.needs)
    with pytest.raises(UserError, match=r"not trained for t2v \(from a prompt alone, without audio\)"):
        pocket.task_for(T2V.needs, absent=T2V.absent)


def test_a_recipe_whose_network_cannot_do_a_task_says_so():
    experiment = every_task()
    with pytest.raises(ValueError, match="a speaker encoder and no condition"):
        replace(experiment, speaker_encoder=Loudness())
    for task, problem in (
        (T2AV, "t2av lays 0 channels beside a video token, the network takes 32"),
        (placed(RETAKE, Beside(4)), "retake lays 20 channels beside a video token, the network takes 32"),
        (voiced(placed(T2AV, PLACE)), r"t2av\+voice needs a voice, which neither"),
        (voiced(placed(T2V, PLACE), Reference()), r"t2v\+voice has reference tokens of a voice but no sound"),
    ):
        with pytest.raises(ValueError, match=f"'models:every_task' lists what its network cannot do: {problem}"):
            replace(experiment, tasks=((task, 1.0),))


def test_an_encoder_may_read_the_voices():
    experiment = replace(
        every_task(),
        voices={"voice": Timbres(1)},
        speaker_encoder=Loudness(),
        tasks=((voiced(placed(T2AV, PLACE)), 1.0), (placed(T2AV, PLACE), 1.0)),
    )
    prompts = [Prompt(speech=(("left", "a"), ("right", "b"))), Prompt(scene="rain")]
    loud = Audio(torch.full((1, 100), 0.5), 16000)
    heard = experiment.encode(prompts, voices=[experiment.speaker_vectors((("right", loud),)), ()])
    assert heard["voice"].x[..., 0].tolist() == [[0, 0.25], [0, 0]]
    assert not experiment.encode(prompts)["voice"].x.any()
    assert experiment.task_for(frozenset({"voice"})).name == "t2av+voice"
