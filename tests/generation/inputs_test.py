"""Given pictures and sound come out bit by bit, and what a request brings chooses the task."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from models import PLACE, Loudness

from phonofilm.diffusion.tasks import T2AV, InStream, placed, voiced
from phonofilm.diffusion.tokens import Geometry
from phonofilm.encoders.timbre import Timbres
from phonofilm.errors import UserError
from phonofilm.generation.inputs import at_rate, faded, fit, gaps, scaled, signed
from phonofilm.generation.pipeline import load
from phonofilm.generation.request import check_request
from phonofilm.recipes.lookup import recipes_with_voices
from phonofilm.types import Audio, Clip, Prompt, Request

pytestmark = pytest.mark.quick

WOMAN = Prompt(scene="a woman", speech=(("", "set white"),))
FRAMES, RATE = 17, 16000
SAMPLES = round(FRAMES / 24 * RATE)
FADE = 320


@pytest.fixture(scope="module")
def pipeline(versatile_folder):
    return load(str(versatile_folder), recipe="models:every_task")


def noise(frames=FRAMES, samples=SAMPLES, seed=0):
    """A clip of random pixels and samples in the model's own size and rates."""
    generator = torch.Generator().manual_seed(seed)
    video = torch.randint(0, 256, (frames, 3, 32, 64), generator=generator, dtype=torch.uint8)
    audio = torch.rand(1, samples, generator=generator) * 1.6 - 0.8
    return Clip(video=video, audio=audio, fps=24.0, sample_rate=RATE)


def sound(clip):
    return Audio(clip.audio, clip.sample_rate)


def same(one, other):
    """Per pixel frame or sample: whether all values are equal."""
    return (one == other).flatten(1).all(dim=1) if one.ndim == 4 else (one == other).all(dim=0)


def test_pictures_to_sound_keeps_every_pixel(pipeline):
    given = noise()
    made = pipeline.generate(Request(prompt=WOMAN, video=given))
    assert torch.equal(made.video, given.video)
    assert made.audio.shape == (1, SAMPLES)
    assert not same(made.audio, given.audio).any()
    assert pipeline.manifest(pipeline.resolve(Request(prompt=WOMAN, video=given)))["task"] == "v2a"


def test_known_tokens_in_the_stream_come_out_the_same_way(pipeline):
    experiment = pipeline.checkpoint.experiment
    tasks = tuple((placed(kind, InStream(empty=32)), share) for kind, share in experiment.tasks)
    other = replace(pipeline, checkpoint=replace(pipeline.checkpoint, experiment=replace(experiment, tasks=tasks)))
    given = noise()
    dubbed, retaken = Request(prompt=WOMAN, video=given), Request(prompt=WOMAN, clip=given, retake=(0.3, 0.5))
    assert torch.equal(other.generate(dubbed).video, given.video)
    assert gaps(same(other.generate(retaken).video, given.video)) == [(5, 13)]
    assert not torch.equal(other.generate(dubbed).audio, pipeline.generate(dubbed).audio)


def test_sound_to_pictures_keeps_every_sample(pipeline):
    given = noise()
    made = pipeline.generate(Request(prompt=WOMAN, audio=sound(given)))
    assert torch.equal(made.audio, given.audio)
    assert made.video.shape == given.video.shape
    assert not same(made.video, given.video).any()


def test_sound_that_is_short_ends_in_silence(pipeline):
    short = noise(samples=9000)
    request = Request(prompt=WOMAN, audio=sound(short))
    made = pipeline.generate(request)
    assert torch.equal(made.audio[:, :9000], short.audio)
    assert not made.audio[:, 9000:].any()
    assert list(pipeline.resolve(request).notes) == ["the sound ends at 0.56 s, then it is silent until 0.71 s"]


def test_continuing_keeps_whole_latent_frames(pipeline):
    given = noise(frames=8, samples=round(8 / 24 * RATE))  # 0.333 s
    request = Request(prompt=WOMAN, clip=given, seed=5)
    made = pipeline.generate(request)
    # Latent frames end at 5/24 (then 9/24) and 320 ms (then 352): so much of the clip is kept.
    assert same(made.video[:8], given.video).tolist() == [True] * 5 + [False] * 3
    equal = same(made.audio[:, : given.audio.shape[1]], given.audio)
    assert equal[: 10 * 512].all()
    assert not equal[10 * 512 :].any()
    assert list(pipeline.resolve(request).notes) == [
        "made anew are pictures from 0.208 to 0.708 s, sound from 0.320 to 0.708 s "
        "(asked for from 0.333 s on, widened to whole latent frames)"
    ]


def test_a_retake_keeps_both_sides(pipeline):
    given = noise()
    request = Request(prompt=WOMAN, clip=given, retake=(0.3, 0.5))
    made = pipeline.generate(request)
    assert gaps(same(made.video, given.video)) == [(5, 13)]
    assert gaps(same(made.audio, given.audio)) == [(9 * 512, 16 * 512)]
    assert "pictures from 0.208 to 0.542 s, sound from 0.288 to 0.512 s" in list(pipeline.resolve(request).notes)[0]
    assert pipeline.manifest(pipeline.resolve(request))["given"]["retake"] == [0.3, 0.5]
    other = replace(request, seed=9)
    assert not torch.equal(pipeline.generate(other).video[5:13], made.video[5:13])


def test_what_is_known_shapes_what_is_made(pipeline):
    """Given parts reach the network: another clip around the same hole changes what fills it."""
    one, other = (pipeline.generate(Request(prompt=WOMAN, clip=noise(seed=seed), retake=(0.3, 0.5))) for seed in (0, 1))
    assert not torch.equal(one.video[5:13], other.video[5:13])
    assert not torch.equal(one.audio[:, 5500:7000], other.audio[:, 5500:7000])


def test_a_fade_lies_inside_what_is_made():
    given, made = torch.full((1, 1000), 1.0), torch.zeros(1, 1000)
    keep = torch.ones(1000, dtype=torch.bool)
    keep[300:700] = False
    mixed = faded(given, made, keep, 100)
    assert torch.equal(mixed[:, keep], given[:, keep])
    assert (mixed[0, 300:400].diff() < 0).all()
    assert (mixed[0, 600:700].diff() > 0).all()
    assert not mixed[0, 400:600].any()
    torch.testing.assert_close(mixed, mixed.flip(1))
    torch.testing.assert_close(mixed[0, 300], torch.tensor(0.995))
    narrow = torch.ones(1000, dtype=torch.bool)
    narrow[300:310] = False  # both fades share a gap that is narrower than they are
    assert (faded(given, made, narrow, 100)[0, 300:310] < 1).all()


def test_the_fade_mirrors_the_given_sound():
    given, keep = torch.arange(100.0)[None], torch.arange(100) < 50
    mixed = faded(given, torch.zeros(1, 100), keep, 4)
    assert mixed[0, 50:55].tolist() == [49 * 0.875, 48 * 0.625, 47 * 0.375, 46 * 0.125, 0]


def test_only_one_of_both(pipeline):
    silent = pipeline.generate(Request(prompt=WOMAN, only="video"))
    assert (silent.video.shape[0], silent.audio.shape) == (FRAMES, (1, 0))
    blind = pipeline.generate(Request(prompt=WOMAN, only="audio"))
    assert (blind.video.shape, blind.audio.shape) == ((0, 3, 32, 64), (1, SAMPLES))
    assert pipeline.manifest(pipeline.resolve(Request(prompt=WOMAN, only="audio")))["task"] == "t2a"


def test_a_reference_voice_stands_behind_the_sound(pipeline):
    voices = [Audio(noise(seed=seed).audio[:, :4000], RATE) for seed in (1, 2)]
    requests = [Request(prompt=WOMAN, voice=(("", voice),)) for voice in voices]
    assert pipeline.manifest(pipeline.resolve(requests[0]))["task"] == "t2av+voice"
    one, other = (pipeline.generate(request) for request in requests)
    assert one.audio.shape == (1, SAMPLES)
    assert not torch.equal(one.audio, other.audio)
    longer = Audio(torch.cat((voices[0].samples, voices[1].samples), dim=1), RATE)  # only 0.2 s are listened to
    assert torch.equal(pipeline.generate(replace(requests[0], voice=(("", longer),))).audio, one.audio)
    with pytest.raises(UserError, match=r"lasts 0.06 s, this model listens to 0.2 s"):
        pipeline.resolve(Request(prompt=WOMAN, voice=(("", Audio(voices[0].samples[:, :1000], RATE)),)))


def test_the_length_is_that_of_what_is_given(pipeline):
    def frames(**fields):
        return pipeline.resolve(Request(prompt=WOMAN, **fields)).kind[0].num_frames

    assert frames(video=noise(frames=35)) == 33
    assert frames(audio=Audio(torch.ones(1, RATE), RATE)) == 25
    assert frames(audio=Audio(torch.ones(1, 100), RATE)) == 17
    assert frames(clip=noise(frames=25), retake=(0.1, 0.2)) == 25
    assert frames(clip=noise(frames=8)) == 17
    assert frames(video=noise(frames=40), seconds=0.7) == 17


def test_rates_and_sizes_are_fitted(pipeline):
    clip = Clip(
        video=torch.arange(12, dtype=torch.uint8)[:, None, None, None].expand(12, 3, 64, 64),
        audio=torch.ones(2, 8000) * torch.tensor([[0.2], [0.4]]),
        fps=12.0,
        sample_rate=8000,
    )
    geometry = Geometry(num_frames=17, height=32, width=32, fps=24.0)
    fitted = fit(Request(prompt=WOMAN, clip=clip), geometry, T2AV, pipeline.checkpoint.audio_codec)
    assert fitted.video[:, 0, 0, 0].tolist() == [k // 2 for k in range(17)]
    assert fitted.video.shape == (17, 3, 32, 32)
    assert fitted.audio.shape == (1, geometry.num_samples(RATE))
    torch.testing.assert_close(fitted.audio[0, 200:-200], torch.full((11333 - 400,), 0.3), atol=1e-3, rtol=0)
    assert at_rate(replace(clip, fps=48.0), 24.0)[:, 0, 0, 0].tolist() == [1, 3, 5, 7, 9, 11]


def test_pictures_are_cut_around_their_middle():
    geometry = Geometry(num_frames=1, height=32, width=32, fps=24.0)
    video = torch.zeros(1, 3, 64, 128, dtype=torch.uint8)
    video[..., 32:96] = 255
    assert torch.equal(signed(scaled(video, geometry)), torch.ones(1, 3, 1, 32, 32))
    assert scaled(video[..., :20, :10], geometry).shape == (1, 3, 32, 32)


def test_batches_of_given_parts_agree_with_single_clips(pipeline):
    requests = [Request(prompt=WOMAN, clip=noise(seed=seed), retake=(0.3, 0.5), seed=seed) for seed in (1, 2)]
    for request, made in zip(requests, pipeline.generate_many(requests), strict=True):
        alone = pipeline.generate(request)
        assert (alone.video.int() - made.video.int()).abs().max() <= 1
        torch.testing.assert_close(alone.audio, made.audio, atol=1e-3, rtol=0)


@dataclass(frozen=True)
class Listening(Timbres):
    """The encoder, noting which speakers it reads."""

    calls: list = field(default_factory=list)

    def __call__(self, prompts, voices):
        self.calls.append([[who for who, _ in one] for one in voices])
        return super().__call__(prompts, voices)


def test_voices_reach_the_encoder_by_name(pipeline):
    encoder = Listening(1)
    tasks = ((voiced(placed(T2AV, PLACE)), 1.0), (placed(T2AV, PLACE), 1.0))
    experiment = replace(
        pipeline.checkpoint.experiment, voices={"voice": encoder}, speaker_encoder=Loudness(), tasks=tasks
    )
    other = replace(pipeline, checkpoint=replace(pipeline.checkpoint, experiment=experiment))
    voice = sound(noise())
    two = Prompt(speech=(("left", "set white"), ("right", "bin blue")))
    assert other.manifest(other.resolve(Request(prompt=two, voice=(("right", voice),))))["task"] == "t2av+voice"
    other.generate_many([Request(prompt=two, voice=(("right", voice),)), Request(prompt=WOMAN, voice=(("", voice),))])
    other.generate(Request(prompt=replace(WOMAN, speech=(("left", "bin"),)), voice=(("", voice),)))
    other.generate(Request(prompt=WOMAN))
    assert encoder.calls == [[["right"]], [["right"]], [[""]], [["left"]], [[]]]  # once for each request


def test_a_voice_of_two_speakers_goes_where_it_can_be_told_whose_it_is(pipeline):
    two = Prompt(speech=(("left", "set white"), ("right", "bin blue")))
    plain, named = (Request(prompt=two, voice=((who, sound(noise())),)) for who in ("", "left"))
    for request in (plain, named):
        with pytest.raises(UserError, match=r"2 speakers \(left, right\).* one reference voice only.*nava_study\)"):
            pipeline.resolve(request)
    pipeline.resolve(replace(named, prompt=Prompt(speech=(("left", "set white"), ("left", "now")))))
    task = (voiced(placed(T2AV, PLACE)), 1.0)
    experiment = pipeline.checkpoint.experiment
    experiment = replace(experiment, voices={"voice": Listening(1)}, speaker_encoder=Loudness(), tasks=(task,))
    other = replace(pipeline, checkpoint=replace(pipeline.checkpoint, experiment=experiment))
    other.resolve(named)
    with pytest.raises(UserError, match="whose voice is it"):
        other.resolve(plain)
    assert recipes_with_voices() == ["nava_paper", "nava_pocket", "nava_release", "nava_study"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"video": replace(noise(), fps=0.0)}, r"video has 0.0 pixel frames a second; 1 to 1000 are taken"),
        ({"video": replace(noise(), fps=float("nan"))}, "video has nan pixel frames a second"),
        ({"clip": replace(noise(), fps=1e6)}, "clip has 1000000.0 pixel frames a second"),
        ({"video": noise(frames=0)}, "video has no pixel frames"),
        ({"audio": Audio(torch.zeros(1, 0), RATE)}, "audio holds no sound"),
        ({"audio": Audio(torch.full((1, 9), torch.nan), RATE)}, "audio holds NaN"),
        ({"audio": Audio(torch.zeros(1, 9), 0)}, "audio has 0 samples a second"),
        ({"voice": (("", Audio(torch.zeros(1, 0), RATE)),)}, "voice of '' holds no sound"),
        ({"clip": replace(noise(), audio=torch.full((1, 9), torch.inf))}, "clip's sound holds NaN or infinity"),
        ({"retake": (0.1, 0.2)}, "no clip is given"),
        ({"clip": noise(), "retake": (0.2, float("inf"))}, "retake 0.2:inf"),
        ({"only": "sound"}, "only 'sound': 'video' or 'audio'"),
    ],
)
def test_requests_that_no_model_could_serve(fields, problem):
    with pytest.raises(UserError, match=problem):
        check_request(Request(prompt=WOMAN, **fields))
