"""The long commands in miniature, for tests that kill them, fill their disks and send them signals."""

from dataclasses import replace

import torch
from models import small_audio, small_video
from training import CODES, GEOMETRY, Noise, tiny

from phonofilm.checkpoints.folder import Training
from phonofilm.data.cache import Cache, Meta, codec_hash
from phonofilm.data.shards import write_shard

CLIPS, STEPS = 130, 9


def write_inputs(place):
    """Codecs, and a cache that they are said to have made."""
    small_video().save(place / "codecs")
    small_audio().save(place / "codecs")
    Meta(
        geometry=GEOMETRY,
        codes=CODES,
        codec=codec_hash(place / "codecs"),
        recipe="tiny",
        regions=("sounding",),
        source={"split": "train", "seed": 0},
    ).write(place / "data")
    write_shard(Noise(), place / "data", 5, 0)
    return place


def train_run(place, out):
    """A run on a cache with looks that write files, and its model."""
    from phonofilm.train.export import export
    from phonofilm.train.loop import Origin, Watch, train
    from phonofilm.train.validate import LOSS, validation

    torch.set_num_threads(1)
    experiment = tiny(steps=STEPS, save_every=3, sample_every=4)

    def look(step, backbone):
        (out / f"look-{step}").write_text(str(next(backbone.parameters()).double().sum().item()))
        return {}

    data = Cache.open(place / "data")
    watch = Watch(every=(validation(experiment, data, clips=4), look), best=LOSS)
    weights = train(experiment, data, out, watch=watch, origin=Origin(device="cpu"))
    export(experiment, weights, place / "codecs", out / "model", Training(num_frames=(5,)))


def prepare_run(place, out, workers=0):
    """A cache of puppets that are noise, in three shards."""
    from phonofilm.data import prepare as module

    torch.set_num_threads(1)
    module.puppets = noise
    module.prepare(tiny(), place / "codecs", out, module.Wanted(clips=CLIPS, num_frames=5), workers=workers)


class NoisyPuppets(Noise):
    """Noise with what is told of puppets."""

    stages, split, seed, codec = {"noise": 1.0}, "train", 0, "0123"


def noise(experiment, codecs, wanted):
    """In the place of ``phonofilm.data.prepare.puppets``."""
    return NoisyPuppets(size=wanted.clips)


def puppets_run(place, out):
    """Three clips of eight pixel frames, and the table of what is true about them."""
    from phonofilm.puppets.corpus import Corpus, make

    torch.set_num_threads(1)
    make(out, Corpus(clips=3, seed=1, size=32, num_frames=9, stages={"ball": 1.0}))


def compare_run(place, out):
    """A comparison of two arms, one seed each."""
    from comparing import TERMS, opened

    from phonofilm.compare.run import compare
    from phonofilm.compare.work import Machine
    from phonofilm.train.parallel import world

    torch.set_num_threads(1)
    comparison = opened(place, out, replace(TERMS, seeds=1, amount=8))
    with world("cpu") as here:
        compare(comparison, Machine(workers=1, device="cpu"), here)


def pocket():
    """``jova_pocket`` as it is called here: small codecs, short clips."""
    from phonofilm.recipes.lookup import find_recipe

    recipe = find_recipe("jova_pocket")
    geometry = replace(recipe.geometry, num_frames=9, height=32, width=32)
    return replace(recipe, name="long_commands:pocket", geometry=geometry)


RUNS = {"train": train_run, "prepare": prepare_run, "puppets": puppets_run, "compare": compare_run}
