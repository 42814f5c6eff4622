"""Numbers as format 1 of experiment.json has them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from phonofilm.checkpoints.format1 import format1_numbers
from phonofilm.network.ports import ConvEmbed, Data, DiTTime, MLPEmbed, Pooled, StreamConfig, WanTime
from phonofilm.recipes.lookup import find_recipe

pytestmark = pytest.mark.quick

JOVA, OVI = "jova_study", "ovi_study"
ROPE = {"sizes": (32, 16, 16), "scale": (32.0, 1.0, 1.0), "theta": 100.0}
FLAT = {"width": 128, "heads": 2, "beside": 0, "rope": ROPE}


def changed(name, **leaves):
    """The numbers of a recipe's stream of sound with other leaves."""
    model = find_recipe(name).model
    return format1_numbers(replace(model, audio=replace(model.audio, **leaves)))["audio"]


def test_the_first_shipped_folder_has_its_recipes_numbers():
    """As its experiment.json had them at commit beaff0a."""
    numbers = json.loads((Path(__file__).parents[1] / "golden" / "format1_jova_pocket.json").read_text())
    assert json.loads(json.dumps(format1_numbers(find_recipe("jova_pocket").model))) == numbers


@pytest.mark.parametrize(
    ("name", "leaves", "numbers"),
    [
        (JOVA, {}, {"mlp": 512, "time": 64, "pooled": 128}),
        (JOVA, {"pooled": None, "time": DiTTime(width=32)}, {"mlp": 512, "time": 32}),
        (OVI, {}, {"mlp": 448, "time": 0, "pooled": 128, "kernel": 7, "inner": 128}),
        (OVI, {"pooled": None, "embed": MLPEmbed()}, {"mlp": 448, "time": 0}),
        (
            OVI,
            {"pooled": None, "embed": ConvEmbed(kernel=3, inner=8)},
            {"mlp": 448, "time": 0, "kernel": 3, "inner": 8},
        ),
        (OVI, {"predict": Data(), "embed": MLPEmbed()}, {"mlp": 448, "time": 0, "pooled": 128}),
    ],
)
def test_a_stream_is_flat_and_without_types(name, leaves, numbers):
    assert changed(name, **leaves) == FLAT | {"channels": 20} | numbers


@pytest.mark.parametrize(
    ("name", "leaves"),
    [
        (JOVA, {"time": DiTTime(width=64, freq_dim=128)}),
        (OVI, {"time": WanTime(freq_dim=128)}),
        (OVI, {"predict": Data(smallest=0.1)}),
    ],
)
def test_no_folder_of_format_1_passes_for_a_network_that_there_was_not_then(name, leaves):
    assert changed(name, **leaves) != changed(name)


def test_all_but_the_streams_stays():
    model = find_recipe("ccl_study").model
    numbers = format1_numbers(model)
    assert isinstance(model.video, StreamConfig)
    assert model.video.pooled == Pooled(channels=128)
    assert (numbers["num_blocks"], numbers["text_attention"], numbers["partition"]) == (
        7,
        model.text_attention,
        {"num_frames": 3.0},
    )
