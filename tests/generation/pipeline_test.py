"""Requests to clips through a whole random model: the plumbing, not the pictures."""

from dataclasses import replace

import pytest
import torch

from phonofilm.errors import UserError
from phonofilm.generation.pipeline import Pipeline, draw_noise, find_model, load
from phonofilm.generation.shot import count_letters
from phonofilm.types import Audio, Prompt, Request

WOMAN = Prompt(scene="a woman with red hair", speech=(("", "set white with blue soon"),))


@pytest.fixture(scope="module")
def pipeline(model_folder):
    return load(str(model_folder)).adjusted(steps=2)


def layout(pipeline):
    checkpoint = pipeline.checkpoint
    experiment = checkpoint.experiment
    return experiment.layout(experiment.geometry, checkpoint.video_codec, checkpoint.audio_codec)


def test_a_request_becomes_a_clip_of_its_length(pipeline):
    clip = pipeline.generate(Request(prompt=WOMAN, seed=3))
    assert clip.video.shape == (49, 3, 128, 128)
    assert clip.fps == 24.0
    assert clip.audio.shape == (1, round(49 / 24 * 16000))
    assert torch.isfinite(clip.audio).all()
    assert clip.video.float().std() > 0


def test_same_seed_same_clip_and_batches_agree(pipeline):
    requests = [Request(prompt=WOMAN, seed=1), Request(prompt=replace(WOMAN, scene="a man"), seed=2)]
    one, other = (pipeline.generate(request) for request in requests)
    again = pipeline.generate(requests[0])
    assert torch.equal(one.video, again.video)
    assert torch.equal(one.audio, again.audio)
    assert not torch.equal(one.video, other.video)
    for single, batched in zip((one, other), pipeline.generate_many(requests)):
        assert (single.video.int() - batched.video.int()).abs().max() <= 1  # rounding to 8 bits
        torch.testing.assert_close(single.audio, batched.audio, atol=1e-3, rtol=0)


def test_noise_of_a_seed_is_the_same_at_any_batch_size(pipeline):
    alone, many = draw_noise(pipeline, layout(pipeline), [5]), draw_noise(pipeline, layout(pipeline), [4, 5, 6])
    assert torch.equal(alone.video[0], many.video[1])
    assert torch.equal(alone.audio[0], many.audio[1])
    assert not torch.equal(many.video[0], many.video[1])
    assert abs(float(alone.video.std()) - 1) < 0.05


def test_a_portrait_changes_the_clip_and_the_manifest(pipeline, generator):
    image = torch.randint(0, 256, (3, 200, 100), generator=generator, dtype=torch.uint8)
    plain, given = Request(prompt=WOMAN), Request(prompt=WOMAN, image=image)
    assert not torch.equal(pipeline.generate(plain).video, pipeline.generate(given).video)
    assert pipeline.manifest(pipeline.resolve(given))["task"] == "i2av"
    assert pipeline.manifest(pipeline.resolve(plain))["task"] == "t2av"
    assert pipeline.resolve(given).given != pipeline.resolve(replace(given, image=255 - image)).given


def test_the_model_decides_which_lengths_and_tasks_there_are(pipeline):
    nearest = pipeline.resolve(Request(prompt=WOMAN, seconds=2.0)).kind
    assert nearest == pipeline.resolve(Request(prompt=WOMAN)).kind
    with pytest.raises(UserError, match=r"5 seconds: this model was trained on clips of 2.04 s"):
        pipeline.resolve(Request(prompt=WOMAN, seconds=5.0))
    refusal = r"jova_study was not trained for a2v \(from audio\); it can make t2av .*, i2av \(from image\)"
    with pytest.raises(UserError, match=refusal):
        pipeline.resolve(Request(prompt=WOMAN, audio=Audio(torch.zeros(1, 16000), 16000)))
    portrait = torch.zeros(3, 128, 128, dtype=torch.uint8)
    with pytest.raises(ValueError, match="2 lengths or tasks"):
        pipeline.generate_many([Request(prompt=WOMAN), Request(prompt=WOMAN, image=portrait)])


def test_speech_that_cannot_fit_is_refused_with_the_length_it_needs(pipeline):
    long = replace(WOMAN, speech=(("", "set white with blue soon " * 3),))
    assert count_letters(long) == 60
    with pytest.raises(UserError, match=r"60 letters need a clip of 5.0 s .* lasts 2.0 s"):
        pipeline.resolve(Request(prompt=long))


def test_strange_words_are_warned_about_once(pipeline):
    prompt = Prompt(scene="a red dragon, red dragon", speech=(("", "set white zebra"),))
    assert list(pipeline.resolve(Request(prompt=prompt)).warnings) == [
        "in training the model never heard 'zebra'",
        "in training the model never read 'dragon'",
    ]
    assert list(pipeline.resolve(Request(prompt=WOMAN)).warnings) == []


def test_settings_reach_the_sampler(pipeline):
    request, passes = Request(prompt=WOMAN), []
    pipeline.adjusted(steps=3).generate(request, progress=passes.append)
    assert passes[0] == 0
    assert len(passes) == 4
    assert passes[-1] == 1
    assert passes == sorted(passes)
    assert pipeline.adjusted(guidance=4.0).manifest(pipeline.resolve(request))["guidance"] == [[4.0, 4.0]]
    weak, strong = (pipeline.adjusted(guidance=scale).generate(request) for scale in (1.0, 6.0))
    assert not torch.equal(weak.video, strong.video)
    experiment = replace(pipeline.checkpoint.experiment, guidance=pipeline.checkpoint.experiment.guidance * 2)
    twice = Pipeline(name="twice", checkpoint=replace(pipeline.checkpoint, experiment=experiment))
    with pytest.raises(UserError, match="2 terms"):
        twice.adjusted(guidance=2.0)


def test_models_are_found_or_named(model_folder, tmp_path):
    assert find_model(str(model_folder)) == ("random", model_folder)
    with pytest.raises(UserError, match="unknown model 'poket'"):
        find_model("poket")
    with pytest.raises(UserError, match="no model in"):
        load(str(tmp_path))
    with pytest.raises(UserError, match="device 'cuda:99' cannot be used"):
        load(str(model_folder), device="cuda:99")


def test_a_clip_is_checked_once_and_its_texts_are_encoded_once(pipeline, monkeypatch, tmp_path):
    from phonofilm.generation import jobs, shot

    checks, texts = [], []
    check = shot.check_request
    monkeypatch.setattr(shot, "check_request", lambda request: checks.append(request) or check(request))
    experiment = pipeline.checkpoint.experiment

    def counted(name, encoder):
        return lambda prompts: texts.append(name) or encoder(prompts)

    encoders = {name: counted(name, encoder) for name, encoder in experiment.encoders.items()}
    checkpoint = replace(pipeline.checkpoint, experiment=replace(experiment, encoders=encoders))
    counting = replace(pipeline, checkpoint=checkpoint)
    (job,) = jobs.resolved(counting, [(Request(prompt=WOMAN), tmp_path / "clip.mp4")])
    assert jobs.finished(counting, job) is None
    (made,) = jobs.make(counting, [job])
    assert made.manifest["warnings"] is not None
    assert len(checks) == 1
    assert sorted(texts) == sorted(encoders)
