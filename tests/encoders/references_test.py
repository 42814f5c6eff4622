"""Reference voices as sound: another sentence's latents in puppets and caches, in a training step and in a request."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
from extras import needed
from models import listening
from training import AUDIO, CODES, GEOMETRY, Noise, tiny

needed("espeakng_loader")

from phonofilm.checkpoints.folder import Checkpoint, Training
from phonofilm.data.cache import UNCHECKED, Cache, Meta
from phonofilm.data.prepare import Wanted, prepare
from phonofilm.data.prepare import puppets as puppets_of
from phonofilm.data.shards import shard_path, write_shard
from phonofilm.data.stills import Stills
from phonofilm.diffusion.flow import velocity
from phonofilm.diffusion.losses import total
from phonofilm.diffusion.tasks import Pair, Reference, voiced
from phonofilm.diffusion.tokens import audio_tokens
from phonofilm.errors import UserError
from phonofilm.files.checksums import SEAL
from phonofilm.files.loudness import LEVEL, level
from phonofilm.generation.pipeline import Pipeline, place_given
from phonofilm.puppets import references
from phonofilm.puppets.script import split_of, write_script
from phonofilm.puppets.voice import speak
from phonofilm.recipes.lookup import find_recipe
from phonofilm.train import draw
from phonofilm.types import Audio, Request

pytestmark = pytest.mark.quick

SHORT = Reference(seconds=0.1, silence=0.03)
LISTENING = listening()
WANTED = LISTENING.reference


def meta(**settings):
    parts = {"geometry": GEOMETRY, "codes": CODES, "codec": "0", "recipe": "tiny", "regions": (), "source": {}}
    return Meta(**parts | settings)


def referring(experiment, reference, share=0.5):
    """A recipe with a task that reads a voice as tokens."""
    return replace(experiment, tasks=(*experiment.tasks, (voiced(experiment.tasks[0][0], reference), share)))


def test_tokens_are_made_of_the_beginning_and_the_silence_behind_it():
    recording = torch.arange(1.0, 3001.0)[None] / 3000
    wave = SHORT.wave(recording, 16000, 512)
    assert wave.shape[-1] == 512 * SHORT.tokens(AUDIO) == 2048
    assert torch.equal(wave[0, :1600], level(recording[0, :1600], 16000))
    assert not wave[:, 1600:].any()
    assert not SHORT.wave(torch.zeros(1, 0), 16000, 512).any()
    peaked = replace(SHORT, loud=1.0, peak=0.5).wave(recording, 16000, 512)
    torch.testing.assert_close(peaked[:, :1600], recording[:, :1600] / 2 / recording[0, 1599])


@pytest.mark.parametrize("rate", [16000, 24000, 44100])
@pytest.mark.parametrize("gain", [1e-4, 1.0, 30.0])
def test_loud_parts_come_to_one_level_whatever_the_gain_and_the_silence_around_them(rate, gain):
    tone = torch.sin(torch.arange(rate // 2) / rate * 2 * torch.pi * 200)  # whole periods in every part
    wave = torch.cat((torch.zeros(rate // 2), tone, 0.01 * tone))
    levelled = level(gain * wave, rate)
    torch.testing.assert_close(levelled, wave * LEVEL * 2**0.5, atol=2e-4, rtol=2e-3)
    assert level(gain * wave, rate, peak=0.05).abs().max() == pytest.approx(0.05)
    assert not level(torch.zeros(rate), rate).any()


def test_references_come_back_from_a_cache_in_half_precision(tmp_path):
    meta(reference=SHORT).write(tmp_path)
    write_shard(Noise(8, reference=SHORT), tmp_path, 5, 0)
    opened = Cache.open(tmp_path)
    assert opened.reference == Stills(opened).reference == SHORT
    for index, sample in enumerate(opened.read(5, range(8))):
        assert torch.equal(sample.reference, Noise(reference=SHORT).sample(5, index).reference.half().float())
    with pytest.raises(UserError, match=r"another reference .*'seconds': 0.1, .*: choose another folder"):
        meta(reference=replace(SHORT, seconds=1.0)).write(tmp_path)


def test_a_cache_without_references_is_what_it_was_before_there_were_any(tmp_path):
    meta().write(tmp_path)
    write_shard(Noise(4), tmp_path, 5, 0)
    assert "reference" not in json.loads((tmp_path / "meta.json").read_text())
    assert b'"reference"' not in shard_path(tmp_path, 5, 0).read_bytes()
    opened = Cache.open(tmp_path)
    assert (opened.reference, opened.read(5, [0])[0].reference) == (None, None)
    plan = draw.plan(tiny(), opened.buckets, 0, 0)
    assert draw.assemble(tiny(), opened, plan, range(2))[0].audio.x.shape[1] == AUDIO.frames


def test_clips_without_the_sound_of_a_voice_are_refused():
    experiment = referring(tiny(), SHORT)
    plan = draw.plan(experiment, {5: 12}, 0, 0)
    wanted = r"trains t2av\+voice with 0.1 s of a reference voice at level 0.1 and 0.03 s of silence"
    with pytest.raises(UserError, match=rf"{wanted}, the clips hold no sound of a reference voice: make them anew"):
        draw.assemble(experiment, Noise(speaker="vectors alone"), plan, range(2))
    with pytest.raises(
        UserError, match=rf"{wanted}, the clips hold 2 s of a reference voice at level 0.1 and 0.3 s of silence: "
    ):
        draw.assemble(experiment, Noise(reference=Reference()), plan, range(2))
    with pytest.raises(ValueError, match="reference tokens of several lengths"):
        referring(experiment, Reference())
    assert referring(experiment, Reference(), share=0.0).reference == SHORT


def test_references_from_before_they_were_levelled_are_refused(tmp_path):
    meta(reference=SHORT).write(tmp_path)
    write_shard(Noise(8, reference=SHORT), tmp_path, 5, 0)
    path = tmp_path / "meta.json"
    content = json.loads(path.read_text())
    for name in ("loud", "peak"):
        del content["reference"][name]
    content["format"] = UNCHECKED  # that of phonofilm 0.1.0, which wrote no checksum
    del content[SEAL]
    path.write_text(json.dumps(content))
    experiment, opened = referring(tiny(), SHORT), Cache.open(tmp_path)
    with pytest.raises(UserError, match="the clips hold 0.1 s of a reference voice at level 1 and"):
        draw.assemble(experiment, opened, draw.plan(experiment, opened.buckets, 0, 0), range(2))


def test_a_short_sentence_is_followed_by_another():
    plain = references.references({"": "ada"}, [], seed=4, split="val")[""]
    seconds = plain.shape[-1] / 16000
    longer = references.references({"": "ada"}, [], seed=4, split="val", shortest=seconds + 0.01)[""]
    assert torch.equal(references.references({"": "ada"}, [], seed=4, split="val", shortest=seconds)[""], plain)
    assert torch.equal(longer[:, : plain.shape[-1]], plain)
    assert longer.shape[-1] > plain.shape[-1] + 8000


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A cache of puppets for ``models.listening``, who speak or are balls, and what made it."""
    codecs, folder = tmp_path_factory.mktemp("codecs"), tmp_path_factory.mktemp("cache")
    LISTENING.video_codec().save(codecs)
    LISTENING.audio_codec().save(codecs)
    wanted = Wanted(clips=4, split="val", stages={"speaker": 2.0, "ball": 1.0})
    prepare(LISTENING, codecs, folder, wanted, workers=0)
    return puppets_of(LISTENING, codecs, wanted), Cache.open(folder)


def test_a_reference_is_another_sentence_of_the_split_through_the_audio_codec(prepared, monkeypatch):
    source, cache = prepared
    heard = []

    def note(words, voice, **how):
        heard.append((words, speak(words, voice, **how)))
        return heard[-1][1]

    monkeypatch.setattr(references, "speak", note)
    samples = cache.read(49, range(4))
    assert {sample.stage for sample in samples} == {"speaker", "ball"}
    for index, sample in enumerate(samples):
        heard.clear()
        (again,) = source.read(49, [index])
        assert torch.equal(again.reference.half().float(), sample.reference)
        waves = [references.level(spoken.wave) for _, spoken in heard]
        assert len(waves) == (sample.stage == "speaker")
        wave = WANTED.wave(torch.cat((torch.zeros(0), *waves))[None], 16000, 512)
        with torch.no_grad():
            assert torch.equal(source.audio_codec.encode(wave[None])[0], again.reference)
        for words, _ in heard:
            assert split_of(words) == "val"
            assert words not in [said for _, said in sample.prompt.speech]
        own = sample.audio.unfold(1, sample.reference.shape[1], 1)  # every stretch of the clip's sound
        assert sample.stage == "ball" or (own - sample.reference[:, None]).abs().amax(dim=(0, 2)).min() > 0.1


def step(cache, task="t2av+voice", lengths=None):
    """Of four clips: the input, the clean batch, the samples."""
    experiment = replace(LISTENING, train=replace(LISTENING.train, batch=4), dropout=(), link_dropout=())
    lengths = lengths or cache.buckets
    plan = next(p for p in (draw.plan(experiment, lengths, 0, n) for n in range(200)) if p.task.name == task)
    return *draw.assemble(experiment, cache, plan, range(4)), cache.read(plan.num_frames, plan.indices)


def network():
    backbone = LISTENING.model.build()
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return backbone


def test_reference_tokens_are_clean_given_and_before_the_clip(prepared):
    _, cache = prepared
    for task in ("t2av+voice", "i2av+voice"):
        input, batch, samples = step(cache, task)
        audio, count = input.audio, input.audio.grid.tokens
        assert torch.equal(audio.x[:, count:], torch.stack([audio_tokens(s.reference[None])[0] for s in samples]))
        assert audio.given[:, count:].all()
        assert not audio.given[:, :count].any()
        assert (audio.pos[:, count:, 0] < 0).all()
        assert audio.x.shape[1] == count + 41
        assert torch.equal(batch.audio, torch.stack([audio_tokens(s.audio[None])[0] for s in samples]))
    assert step(cache, "t2av")[0].audio.x.shape[1] == count


def test_a_training_step_reads_the_reference_and_asks_nothing_of_it(prepared):
    input, batch, _ = step(prepared[1])
    backbone, count = network(), input.audio.grid.tokens
    input = replace(input, audio=replace(input.audio, x=input.audio.x.clone().requires_grad_(True)))
    output = backbone(input)
    terms = [total(loss(input, output, batch, 0)) for loss in LISTENING.losses]
    sum(terms).backward()
    assert all(parameter.grad is not None for parameter in backbone.audio.parameters())
    assert input.audio.x.grad[:, count:].abs().sum() > 0
    spoiled = replace(output, audio=torch.cat((output.audio[:, :count], 1e3 + output.audio[:, count:]), dim=1))
    for loss, term in zip(LISTENING.losses, terms):
        assert torch.equal(total(loss(input, spoiled, batch, 0)), term)
    truth = velocity(input.audio.x[:, :count], batch.audio, input.audio.sigma)
    error = (output.audio[:, :count] - truth).square().mean()
    torch.testing.assert_close(LISTENING.losses[0](input, output, batch, 0)["audio"], error)


def test_a_sampler_leaves_the_reference_as_it_is(prepared):
    input, _, _ = step(prepared[1])
    count = input.audio.grid.tokens
    one = torch.ones(4)
    noisy = replace(input, video=replace(input.video, sigma=one), audio=replace(input.audio, sigma=one))
    with torch.no_grad():
        made = LISTENING.sampling.run(network(), noisy).audio.x
    assert torch.equal(made[:, count:], input.audio.x[:, count:])
    assert not torch.isclose(made[:, :count], input.audio.x[:, :count]).all(dim=-1).any()


def test_a_still_keeps_the_voice_of_whom_it_shows(prepared):
    _, cache = prepared
    stills = Stills(cache)
    input, _, samples = step(stills, lengths={1: 4})
    assert input.audio.grid.frames == 2
    assert torch.equal(input.audio.x[:, 2:], torch.stack([s.reference.mT for s in samples]))


def test_a_request_reads_what_training_read(prepared):
    source, cache = prepared
    sample = next(sample for sample in cache.read(49, range(4)) if sample.stage == "speaker")
    (line,) = write_script(sample.seed, split="val", stages=source.stages).lines
    (wave,) = references.references({"": line.voice}, [line.words], seed=sample.seed, split="val").values()
    checkpoint = Checkpoint(
        experiment=LISTENING,
        backbone=network(),
        video_codec=source.video_codec,
        audio_codec=source.audio_codec,
        training=Training(),
        hash="",
    )
    pipeline = Pipeline(name="tiny", checkpoint=checkpoint)
    request = Request(prompt=sample.prompt, voice=(("", Audio(wave, 16000)),))
    geometry, task = pipeline.resolve(request).kind
    assert (task.name, task.reference) == ("t2av+voice", WANTED)
    layout = task.layout(LISTENING.layout(geometry, source.video_codec, source.audio_codec))
    like = Pair(torch.zeros(1, layout.video.tokens, 16), torch.zeros(1, layout.audio.tokens + layout.audio_refs, 20))
    for gain in (1.0, 0.02, 40.0):  # a recording may be faint, and as floats beyond full scale
        request = replace(request, voice=(("", Audio(gain * wave, 16000)),))
        with torch.no_grad():
            placed = place_given(pipeline, [pipeline.resolve(request)], like).audio[0]
        torch.testing.assert_close(placed[layout.audio.tokens :], sample.reference.mT, rtol=2e-3, atol=2e-3)
        assert not placed[: layout.audio.tokens].any()
    with pytest.raises(UserError, match=r"lasts 0.99 s, this model listens to 1 s"):
        pipeline.resolve(replace(request, voice=(("", Audio(wave[:, :15840], 16000)),)))


@pytest.mark.parametrize("name", ["uniavgen_pocket", "uniavgen_study"])
def test_the_five_tasks_have_the_papers_shares_and_the_joint_recipes_need_no_voices(name):
    shares = Counter()
    for kind, share in find_recipe(f"{name}_tasks").tasks:
        shares["joint" + ("+voice" if "voice" in kind.needs else "") if "av" in kind.name else kind.name] += share
    assert shares == {"joint": 4, "joint+voice": 1, "continue": 1, "v2a": 2, "a2v": 2}
    joint = find_recipe(name)
    assert joint.reference is None
    assert {kind.name for kind, _ in joint.tasks} == {"t2av", "i2av"}
    assert set(joint.regions) <= set(find_recipe(f"{name}_tasks").regions)  # its cache serves both
