"""Shards that were damaged never train: the file is named, and prepare makes them anew."""

import json
import random
import shutil

import pytest
from breaking import damage
from training import CODES, GEOMETRY, Noise

from phonofilm.data.cache import META, Cache, Meta
from phonofilm.data.shards import missing_shards, shard_path, write_shard
from phonofilm.errors import UserError

CLIPS = 70
SOURCE = {"split": "train", "seed": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Meta(geometry=GEOMETRY, codes=CODES, codec="01", recipe="tiny", regions=("sounding",), source=SOURCE).write(folder)
    for number in (0, 1):
        write_shard(Noise(CLIPS), folder, 5, number)
    return folder


def read_all(folder):
    """What a training does: it opens the folder and reads every clip."""
    cache = Cache.open(folder)
    return cache.read(5, range(cache.buckets[5]))


@pytest.mark.parametrize("seed", range(30))
def test_no_damage_is_taken(whole, tmp_path, seed):
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    files = sorted(folder.iterdir())
    broken = files[random.Random(seed).randrange(len(files))]
    way = damage(broken, seed)
    with pytest.raises(UserError, match=str(folder)) as error:
        read_all(folder)
    assert str(error.value).count("\n") == 0, way


@pytest.mark.parametrize("name", ["f00005-000001.safetensors", "f00005-000001.jsonl", "f00005-000001.sha256"])
def test_a_damaged_shard_is_made_anew(whole, tmp_path, capsys, name):
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    assert missing_shards(folder, 5, CLIPS) == [1]
    assert "its shard is made anew" in capsys.readouterr().err
    write_shard(Noise(CLIPS), folder, 5, 1)
    assert missing_shards(folder, 5, CLIPS) == []
    assert path.read_bytes() == (whole / name).read_bytes()


def test_a_line_less_is_seen_before_anything_is_read(whole, tmp_path):
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    lines = shard_path(folder, 5, 0).with_suffix(".jsonl")
    lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"does not hold equally many of everything \(prompts 63, audio 64"):
        Cache.open(folder)
    lines.write_text("")
    with pytest.raises(UserError, match="prompts 0"):
        Cache.open(folder)


def test_a_shard_of_another_cache_is_refused(whole, tmp_path):
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    for suffix in (".safetensors", ".jsonl", ".sha256"):
        shard_path(folder, 5, 1).with_suffix(suffix).rename(shard_path(folder, 9, 1).with_suffix(suffix))
    with pytest.raises(UserError, match="video is .*, meta.json wants"):
        Cache.open(folder)


def test_copies_of_shards_are_none(whole, tmp_path):
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    shutil.copy(shard_path(folder, 5, 0), folder / "f00005-000000 copy.safetensors")
    assert Cache.open(folder).buckets == {5: CLIPS}


def test_caches_of_the_first_version_are_read(whole, tmp_path):
    """They have no checksums; what the headers tell is checked all the same."""
    folder = tmp_path / "cache"
    shutil.copytree(whole, folder)
    meta = json.loads((folder / META).read_text())
    del meta["sha256"]
    (folder / META).write_text(json.dumps(meta | {"format": 1}))
    for path in folder.glob("*.sha256"):
        path.unlink()
    assert len(read_all(folder)) == CLIPS
    assert missing_shards(folder, 5, CLIPS) == []
    shard_path(folder, 5, 1).write_bytes(shard_path(folder, 5, 1).read_bytes()[:-2])
    with pytest.raises(UserError, match="truncated"):
        Cache.open(folder)
