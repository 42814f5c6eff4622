"""Reference voices from end to end: speaker encoder, puppets' references, cache, training step, request."""

import json
import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from extras import needed
from models import TRAINING, speaking, write_model
from training import CODES, GEOMETRY, Noise

needed("espeakng_loader")

from phonofilm.cli import main
from phonofilm.cli.generate import read_requests
from phonofilm.data.cache import Cache, Meta, missing_shards, shard_path, write_shard
from phonofilm.data.prepare import Wanted, prepare
from phonofilm.diffusion.guidance import Guidance, Swap, guided
from phonofilm.encoders.speaker import PitchAndCepstrum, measure
from phonofilm.errors import UserError
from phonofilm.files.media import read_manifest, write_wave
from phonofilm.puppets.corpus import Corpus, make, read_truth
from phonofilm.puppets.references import references
from phonofilm.puppets.script import split_of
from phonofilm.puppets.voice import VOICES, speak
from phonofilm.recipes.lookup import find_recipe
from phonofilm.train import draw
from phonofilm.types import Audio, AVOutput, Prompt

pytestmark = pytest.mark.quick

HEAR = PitchAndCepstrum()
TWO = Prompt(speech=(("left", "bin blue"), ("right", "set red"), ("left", "now")))


def tone(pitch, rate=16000, seconds=0.6):
    """The first harmonics of a pitch, all below 5 kHz."""
    times = torch.arange(round(seconds * rate)) / rate
    return Audio(sum(torch.sin(2 * math.pi * pitch * k * times) / k for k in range(1, 10))[None] / 3, rate)


@lru_cache
def said(words, voice):
    return Audio(speak(words, voice).wave[None], 16000)


@pytest.mark.parametrize("pitch", [90.0, 140.0, 310.0])
def test_the_pitch_of_a_tone_is_found_to_a_quarter_of_a_semitone(pitch):
    found = measure(tone(pitch))[:3]
    assert found.tolist() == pytest.approx([math.log2(pitch)] * 3, abs=1 / 48)


def test_a_vector_knows_neither_loudness_nor_sample_rate():
    loud, quiet = tone(200.0), tone(200.0)._replace(samples=tone(200.0).samples / 50)
    torch.testing.assert_close(HEAR(loud), HEAR(quiet), atol=1e-3, rtol=0)
    assert (HEAR(tone(200.0, 44100)) - HEAR(loud)).abs().mean() < 0.1
    assert (HEAR(tone(110.0)) - HEAR(loud)).norm() > 1.0
    assert HEAR(loud).shape == (HEAR.channels,)


@pytest.mark.parametrize(
    ("sound", "problem"),
    [
        (tone(200.0, 8000), "a voice at 8000 Hz: the speaker encoder needs at least 16000 Hz"),
        (Audio(torch.zeros(1, 9000), 16000), "less than 0.1 s of the voice is voiced"),
        (tone(200.0, seconds=0.01), "less than 0.1 s"),
    ],
)
def test_what_is_no_voice_is_refused(sound, problem):
    with pytest.raises(UserError, match=problem):
        HEAR(sound)


def test_ten_voices_are_told_apart_by_another_sentence():
    """Chance is 0.1. On 200 sentences of val against 400 of train 0.94 of neutral ones (docs/how-it-works/tasks.md)."""
    known, other = ("set white with p two soon", "my sister found the blue kite"), "bin green at f nine again"
    centres = torch.stack([torch.stack([HEAR(said(words, v)) for words in known]).mean(0) for v in VOICES])
    found = torch.cdist(torch.stack([HEAR(said(other, v)) for v in VOICES]), centres).argmin(1)
    assert (found == torch.arange(10)).float().mean() >= 0.8


def test_references_are_other_sentences_of_the_split_in_the_same_voice():
    voices = {"left": "ada", "right": "ben"}
    waves = references(voices, ["bin blue"], seed=4, split="val")
    again = references({"right": "ben"}, ["bin blue"], seed=4, split="val")
    assert torch.equal(waves["right"], again["right"])
    assert not torch.equal(waves["right"][:, :4000], references(voices, [], seed=5, split="val")["right"][:, :4000])
    heights = [measure(Audio(wave, 16000))[1].item() for wave in waves.values()]
    assert heights[0] - heights[1] > 0.4  # a woman's voice, a man's


def test_a_sentence_of_another_split_is_never_taken(monkeypatch):
    heard, sound = [], speak("a", "ada")

    def note(words, *_, **__):
        heard.append(words)
        return sound

    monkeypatch.setattr("phonofilm.puppets.references.speak", note)
    for seed in range(8):
        references({"": "ada"}, [], seed=seed, split="test")
    assert {split_of(words) for words in heard} == {"test"}


def test_prompts_with_voices_follow_the_clips_of_a_corpus(tmp_path, capsys):
    needed("pyarrow")
    make(tmp_path, Corpus(clips=1, stages={"dialogue": 1.0}, size=32))
    main(["puppets", "prompts", str(tmp_path)])
    assert capsys.readouterr().out.endswith("1 prompts with voices\n")
    ((request, out),) = read_requests(tmp_path / "prompts.jsonl", tmp_path / "made")
    truth = read_truth(tmp_path).to_pylist()[0]
    assert out.name == Path(truth["file"]).name
    assert [words for _, words in request.prompt.speech] == [turn["words"] for turn in truth["speech"]]
    assert [who for who, _ in request.voice] == ["left", "right"]
    kinds = [measure(sound)[1].item() > math.log2(140) for _, sound in request.voice]
    assert kinds == [VOICES[voice].height == "high" for voice in truth["voices"]]


class Voiced(Noise):
    """Random latents of two speakers, of whom the second has no voice in every third clip."""

    speaker = "miniature"

    def sample(self, num_frames, index):
        sample = super().sample(num_frames, index)
        g = torch.Generator().manual_seed(index)
        voices = (("left", torch.randn(3, generator=g)), ("right", torch.randn(3, generator=g)))
        if index % 4 == 3:
            return replace(sample, prompt=Prompt(scene="rain"))
        return replace(sample, prompt=TWO, voices=voices[: 1 if index % 3 == 0 else 2])


def meta(**settings):
    parts = {"geometry": GEOMETRY, "codes": CODES, "codec": "0", "recipe": "tiny", "regions": (), "source": {}}
    return Meta(**parts | settings)


def test_vectors_come_back_by_name(tmp_path):
    meta(speaker="miniature").write(tmp_path)
    write_shard(Voiced(8), tmp_path, 5, 0)
    opened = Cache.open(tmp_path)
    assert opened.speaker == "miniature"
    for index, sample in enumerate(opened.read(5, range(8))):
        truth = Voiced(8).sample(5, index)
        assert [who for who, _ in sample.voices] == [who for who, _ in truth.voices]
        for (_, vector), (_, true) in zip(sample.voices, truth.voices):
            assert torch.equal(vector, true.half().float())


def test_a_cache_without_voices_is_what_it_was_before_there_were_any(tmp_path):
    meta().write(tmp_path)
    write_shard(Noise(4), tmp_path, 5, 0)
    assert "speaker" not in json.loads((tmp_path / "meta.json").read_text())
    opened = Cache.open(tmp_path)
    assert opened.speaker == ""
    assert opened.read(5, [0])[0].voices == ()
    assert b'"voice"' not in shard_path(tmp_path, 5, 0).read_bytes()
    with pytest.raises(UserError, match=r"another speaker .none, now miniature.: choose another folder"):
        meta(speaker="miniature").write(tmp_path)


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """A cache of the puppets for ``models.speaking``: some with two speakers."""
    codecs, folder = tmp_path_factory.mktemp("codecs"), tmp_path_factory.mktemp("cache")
    experiment = replace(find_recipe("models:speaking"), geometry=replace(GEOMETRY, num_frames=49, width=32))
    experiment.video_codec().save(codecs)
    experiment.audio_codec().save(codecs)
    experiment = replace(experiment, stages={"speaker": 1.0, "dialogue": 2.0, "ball": 1.0})
    assert missing_shards(folder, 49, 6) == [0]
    prepare(experiment, codecs, folder, Wanted(clips=6), workers=0)
    return experiment, Cache.open(folder)


def test_prepare_makes_the_recipes_stages_with_a_voice_for_each_speaker(cached):
    _, cache = cached
    assert cache.meta.source["stages"] == {"speaker": 1.0, "dialogue": 2.0, "ball": 1.0}
    samples = cache.read(49, range(6))
    assert {"dialogue", "speaker"} <= {sample.stage for sample in samples}
    for sample in samples:
        assert [who for who, _ in sample.voices] == [who for who, _ in sample.prompt.speech]
        assert all(vector.shape == (HEAR.channels,) for _, vector in sample.voices)


def planned(experiment, cache, task):
    experiment = replace(experiment, train=replace(experiment.train, batch=6), dropout=())
    steps = (draw.plan(experiment, cache.buckets, 0, step) for step in range(100))
    plan = next(plan for plan in steps if plan.task.name == task)
    return draw.assemble(experiment, cache, plan, range(6))[0], cache.read(49, plan.indices)


def test_a_step_with_voices_brings_them_and_others_bring_none(cached):
    experiment, cache = cached
    input, samples = planned(experiment, cache, "t2av+voice")
    for row, sample in enumerate(samples):
        for line, (_, vector) in enumerate(sample.voices):
            assert torch.equal(input.cond["voice"].x[row, line], vector)
    backbone = experiment.model.build()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    backbone(input).audio.square().mean().backward()
    assert backbone.context.voice.layers[1].weight.grad.abs().sum() > 0
    silent, _ = planned(experiment, cache, "t2av")
    assert not silent.cond["voice"].x.any()


def test_clips_without_voices_are_refused_by_recipes_that_train_them():
    experiment = speaking()
    plan = draw.plan(experiment, {5: 12}, 0, 0)
    with pytest.raises(UserError, match=r"t2av\+voice, i2av\+voice with .* the clips hold none: make"):
        draw.assemble(experiment, Noise(), plan, range(2))
    with pytest.raises(UserError, match="hold those of 'other'"):
        draw.assemble(experiment, Noise(speaker="other"), plan, range(2))


def test_recipes_for_comparisons_take_clips_without_voices():
    for name in ("nava_pocket_joint", "nava_study_joint"):
        joint = find_recipe(name)
        assert {kind.name for kind, _ in joint.tasks} == {"t2av", "i2av"}
        assert joint.speaker_encoder is None


@pytest.fixture(scope="module")
def network():
    backbone = speaking().model.build()
    torch.manual_seed(0)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return backbone.eval()


def test_two_voices_in_the_other_order_are_another_clip_and_none_is_the_null_vector(cached, network):
    experiment, cache = cached
    input, _ = planned(experiment, cache, "t2av")
    one, two = (torch.randn(HEAR.channels, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    pair = Prompt(speech=(("left", "bin blue"), ("right", "set red")))

    def heard(*voices):
        cond = experiment.encode([pair] * 6, voices=[voices] * 6)
        return network(replace(input, cond=cond)).audio

    forth, back = heard(("left", one), ("right", two)), heard(("left", two), ("right", one))
    assert not torch.allclose(forth, back, rtol=1e-4, atol=1e-5)
    assert torch.equal(forth, heard(("right", two), ("left", one)))
    cond = experiment.encode([pair] * 6)
    assert torch.equal(cond["voice"].x, cond["voice.null"].x)
    assert torch.equal(cond["voice"].mask, cond["voice.null"].mask)
    assert not torch.allclose(forth, heard(), rtol=1e-4, atol=1e-5)


def test_guidance_by_the_voice_costs_nothing_where_none_is_given(cached):
    experiment, cache = cached
    input, _ = planned(experiment, cache, "t2av")
    prompts = [TWO] * 6
    vector = (("left", torch.ones(HEAR.channels)),)
    term = Guidance(contrast=Swap((("voice", "voice.null"),)), video_scale=1.0, audio_scale=2.5)
    calls = []

    def model(input):
        calls.append(input)
        return AVOutput(video=input.video.x, audio=input.audio.x + input.cond["voice"].x.sum())

    for voices, passes in ((None, 1), ([vector] * 6, 2)):
        calls.clear()
        cond = experiment.encode(prompts, voices=voices)
        made = guided(model, term)(replace(input, cond=cond))
        assert len(calls) == passes
    assert (made.audio - input.audio.x).mean() == pytest.approx(2.5 * 12 * HEAR.channels, rel=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "speaking"
    write_model(folder, "models:speaking", replace(TRAINING, num_frames=(17,), letters_per_second=(0.0, 0.0, 0.0)))
    return folder


def test_generate_speaks_with_a_voice(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for voice in ("ada", "ben"):
        write_wave(tmp_path / f"{voice}.wav", said("set white with p two soon", voice).samples, 16000)
    write_wave(tmp_path / "hush.wav", torch.zeros(1, 8000), 16000)
    words = ["--scene", "a man", "--say", "left: set red", "--say", "right: bin blue"]
    model = ["--model", str(folder), "--recipe", "models:speaking"]
    main(["generate", *words, "--voice", "left=ada.wav", "--voice", "right=ben.wav", "-o", "two.mp4", *model])
    assert read_manifest("two.mp4")["task"] == "t2av+voice"
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["generate", "--say", "set red", "--voice", "hush.wav", "-o", "one.mp4", *model])
    assert end.value.code == 2
    assert "less than 0.1 s of the voice is voiced" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main(["generate", *words, "--voice", "ada.wav", "-o", "one.mp4", *model])
    assert end.value.code == 2
    line = "whose voice is it? 2 speakers want one each, by name: --voice left=a.wav --voice right=b.wav"
    assert line in capsys.readouterr().err
