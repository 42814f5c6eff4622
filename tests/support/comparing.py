"""A comparison in miniature: JoVAs of one layer on random latents, untrained codecs, bouncing balls."""

from dataclasses import replace

from models import small_audio, small_video
from training import CODES, GEOMETRY, Noise, tiny

from phonofilm.compare.plan import Terms, open_comparison
from phonofilm.compare.study import Study
from phonofilm.data.cache import Meta, codec_hash, write_shard

TERMS = Terms(seeds=2, amount=16, prompts={"ball": 2})
"""Four steps of four samples."""


def light():
    """A tiny JoVA whose mouth counts little more than the rest."""
    recipe = tiny(steps=8, save_every=2)
    sampling = replace(recipe.sampling, steps=2)
    return replace(recipe, name="comparing:light", losses=(replace(recipe.losses[0], weight=1.0),), sampling=sampling)


def heavy():
    """The same with a heavy mouth."""
    recipe = light()
    return replace(recipe, name="comparing:heavy", losses=(replace(recipe.losses[0], weight=50.0),))


def unguided():
    """The light mouth, sampled otherwise: it shares its training."""
    return replace(light(), name="comparing:unguided", guidance=())


def study():
    """A claim about balls."""
    return Study(
        name="heavy_mouth",
        claim="A heavier mouth lets balls sound in time.",
        source="none",
        arms={"heavy mouth": heavy, "light mouth": light, "light, unguided": unguided},
        figure="exact.event_f1@80ms",
        note="nobody claims it",
    )


def write_place(folder):
    """A folder with random latents in data and the codecs that are said to have made them in codecs."""
    small_video().save(folder / "codecs")
    small_audio().save(folder / "codecs")
    codec = codec_hash(folder / "codecs")
    Meta(
        geometry=GEOMETRY, codes=CODES, codec=codec, recipe="tiny", regions=("sounding",), source={"split": "train"}
    ).write(folder / "data")
    write_shard(Noise(), folder / "data", 5, 0)
    return folder


def opened(place, folder, terms=TERMS, arms=None, trainings=None):
    """The study's comparison, or that of other arms."""
    claim = study() if arms is None else None
    made = arms or {label: recipe() for label, recipe in claim.arms.items()}
    plain = open_comparison(folder, made, terms, data=place / "data", codecs=place / "codecs", study=claim)
    return replace(plain, trainings=trainings)
