"""Tables of names held against what others published: the weights of a release, and those of Wan2.2-TI2V-5B."""

import json
import math
import re
from pathlib import Path

import torch

from phonofilm.checkpoints.importing import renamed
from phonofilm.recipes.wan_names import DIFFUSERS

GOLDEN = Path(__file__).parents[1] / "golden"


def official(system):
    """Names and shapes of a release's weights; a * in the file stands for the number of a block."""
    content = json.loads((GOLDEN / f"{system}_official_names.json").read_text())
    blocks = content["blocks"]
    for name, shape in content["shapes"].items():
        count = blocks if isinstance(blocks, int) else blocks.get(name.split(".")[0], 1)
        for block in range(count) if "*" in name else (0,):
            yield name.replace("*", str(block)), tuple(shape)


def shapes_of(experiment):
    """Names and shapes of a network's weights, of which none is made."""
    with torch.device("meta"):
        return {name: tuple(tensor.shape) for name, tensor in experiment.model.build().state_dict().items()}


def sizes(shapes):
    return {name: math.prod(shape) for name, shape in shapes.items()}


def check_wan(own, names):
    """Wan's weights and what is declared fresh cover a network once; returns our names of Wan's."""
    from diffusers import WanTransformer3DModel

    with torch.device("meta"):
        wan = WanTransformer3DModel(
            num_attention_heads=24, in_channels=48, out_channels=48, ffn_dim=14336, num_layers=30, text_dim=4096
        )
    found = {renamed(name, DIFFUSERS + names.wan): t.numel() for name, t in wan.state_dict().items()}
    fresh = {name for name in own if any(re.search(rule, name) for rule in names.fresh)}
    assert not fresh & found.keys()
    assert found == {name: size for name, size in sizes(own).items() if name not in fresh}
    return found.keys()
