"""The cache of latents: complete shards or none, the same clips again, clips of two lengths, what is refused."""

import json
from dataclasses import dataclass, replace

import pytest
import torch
from training import CODES, GEOMETRY, Noise

from phonofilm.data import cache
from phonofilm.data.cache import Cache, Meta, missing_shards, shard_path, write_shard
from phonofilm.data.prepare import Wanted, prepare
from phonofilm.data.puppets import Puppets, box_region
from phonofilm.errors import UserError
from phonofilm.recipes.lookup import find_recipe

pytestmark = pytest.mark.quick

META = Meta(
    geometry=GEOMETRY, codes=CODES, codec="0123", recipe="tiny", regions=("sounding",), source={"split": "train"}
)
CLIPS = 70


@pytest.fixture
def folder(tmp_path):
    """70 clips of 5 pixel frames in two shards, 6 of 9 in one."""
    META.write(tmp_path)
    for num_frames, size in ((5, CLIPS), (9, 12)):
        for number in missing_shards(tmp_path, num_frames, Noise(size).buckets[num_frames]):
            write_shard(Noise(size), tmp_path, num_frames, number)
    return tmp_path


def test_clips_come_back_in_half_precision(folder):
    opened = Cache.open(folder)
    assert opened.buckets == {5: CLIPS, 9: 6}
    assert (opened.codes, opened.geometry) == (CODES, GEOMETRY)
    for num_frames, index in ((5, 0), (5, 63), (5, 64), (5, 69), (9, 5)):
        (sample,) = opened.read(num_frames, [index])
        truth = Noise(CLIPS).sample(num_frames, index)
        assert sample.video.dtype == torch.float32
        assert torch.equal(sample.video, truth.video.half().float())
        assert torch.equal(sample.audio, truth.audio.half().float())
        assert torch.equal(sample.regions["sounding"], truth.regions["sounding"])
        assert (sample.prompt, sample.seed) == (truth.prompt, truth.seed)
    with pytest.raises(IndexError, match="no clip 70"):
        opened.read(5, [CLIPS])


def test_prompts_are_lines_for_people(folder):
    lines = shard_path(folder, 5, 1).with_suffix(".jsonl").read_text().splitlines()
    assert json.loads(lines[0])["scene"] == "scene 64"
    assert [(frames, len(some)) for frames, some in Cache.open(folder).prompts()] == [(5, 64), (5, 6), (9, 6)]


class Killed(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Dying(Noise):
    """Clips until the process is killed."""

    def read(self, num_frames, indices):
        if 65 in indices:
            raise Killed
        return super().read(num_frames, indices)


def test_a_shard_is_there_or_not(tmp_path, monkeypatch):
    META.write(tmp_path)
    write_shard(Dying(CLIPS), tmp_path, 5, 0)
    with pytest.raises(Killed):
        write_shard(Dying(CLIPS), tmp_path, 5, 1)
    assert Cache.open(tmp_path).buckets == {5: 64}
    assert missing_shards(tmp_path, 5, CLIPS) == [1]

    def killed(tensors):
        raise Killed

    monkeypatch.setattr(cache, "save", killed)  # its prompts are there by now, the tensors are not
    with pytest.raises(Killed):
        write_shard(Noise(CLIPS), tmp_path, 5, 1)
    monkeypatch.undo()
    assert missing_shards(tmp_path, 5, CLIPS) == [1]
    write_shard(Noise(CLIPS), tmp_path, 5, 1)
    assert missing_shards(tmp_path, 5, CLIPS) == []


def test_a_shard_that_is_too_short_is_written_anew(folder):
    assert missing_shards(folder, 5, 71) == [1]
    assert missing_shards(folder, 5, 64 * 5, (1, 2)) == [1, 3]
    with pytest.raises(UserError, match="part 2/2"):
        missing_shards(folder, 5, 71, (2, 2))


def test_a_trainer_sees_new_shards_when_it_looks(folder):
    opened = Cache.open(folder)
    write_shard(Noise(200), folder, 5, 2)
    assert opened.buckets[5] == CLIPS
    fresh = opened.refreshed()
    assert fresh.buckets[5] == CLIPS + 64
    assert Cache.open(folder, opened.names).buckets == opened.buckets
    shard_path(folder, 5, 0).unlink()
    with pytest.raises(UserError, match="lost 1 shards, the first is f00005-000000"):
        Cache.open(folder, opened.names)


def test_kinds_never_share_a_folder(folder):
    META.write(folder)
    replace(META, geometry=replace(GEOMETRY, num_frames=9), recipe="other").write(folder)
    with pytest.raises(UserError, match="another codec .0123, now 4567.: choose another folder"):
        replace(META, codec="4567").write(folder)


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(UserError, match="no cache in .*phonofilm prepare"):
        Cache.open(tmp_path)
    META.write(tmp_path)
    with pytest.raises(UserError, match="holds no clip yet"):
        Cache.open(tmp_path)
    (tmp_path / cache.META).write_text('{"format": 99}')
    with pytest.raises(UserError, match="has format 99"):
        Cache.open(tmp_path)


def test_values_beyond_half_precision_are_refused(tmp_path):
    sample = replace(Noise().sample(5, 0), video=torch.full((4, 2, 2, 4), 1e6))
    with pytest.raises(ValueError, match="video of clips 0"):
        cache.pack([sample])


def test_a_box_covers_every_pixel_that_it_touches():
    boxes = torch.tensor([[[1.5, 0.0, 3.0, 1.0], [0.0, 0.0, 0.0, 0.0]]])
    region = box_region(boxes, 4)
    assert region[0, 0].tolist() == [[0, 1, 1, 0], [0] * 4, [0] * 4, [0] * 4]
    assert not region[0, 1].any()


@pytest.fixture(scope="module")
def codecs(tmp_path_factory):
    """Untrained pocket codecs in a folder."""
    folder = tmp_path_factory.mktemp("codecs")
    experiment = find_recipe("jova_pocket")
    experiment.video_codec().save(folder)
    experiment.audio_codec().save(folder)
    return folder


def short(**settings):
    pocket = find_recipe("jova_pocket")
    return replace(pocket, geometry=replace(pocket.geometry, **settings))


def test_puppets_become_a_cache(codecs, tmp_path):
    wanted = Wanted(clips=2, seed=7, stages={"ball": 0.5, "speaker": 0.5})
    experiment = short()
    assert prepare(experiment, codecs, tmp_path, wanted, workers=0) == 2
    assert prepare(experiment, codecs, tmp_path, wanted, workers=0) == 0
    opened = Cache.open(tmp_path)
    assert opened.meta.codec == cache.codec_hash(codecs)
    one, other = opened.read(49, [0, 1])
    layout = opened.codes.layout(experiment.geometry, experiment.patch)
    assert one.video.shape[1] == layout.video.frames
    assert one.audio.shape[1] == layout.audio.frames
    assert [one.seed, other.seed] == [7, 8]
    for sample in (one, other):
        sounding = sample.regions["sounding"]
        assert sounding.shape[1:] == sample.video.shape[1:]
        assert 0 < sounding.mean() < 0.3
    ball = next(sample for sample in (one, other) if sample.stage == "ball")
    moving = (ball.video[:, 1:] - ball.video[:, :-1]).square().mean(dim=0) > 0.5
    either = ball.regions["sounding"][0, 1:].maximum(ball.regions["sounding"][0, :-1])
    assert moving.any()
    assert either[moving].mean() > 0.9  # what moves is the ball


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"regions": ("hand",)}, "no region hand"), ({"clips": 0}, "at least one clip"), ({"seed": -1}, "seed from 0")],
)
def test_puppets_that_cannot_be_are_refused(settings, message):
    experiment = short()
    video, audio = experiment.video_codec(), experiment.audio_codec()
    clips = {"video_codec": video, "audio_codec": audio, "geometry": experiment.geometry, "clips": 1} | settings
    with pytest.raises(UserError, match=message):
        Puppets(**clips)
