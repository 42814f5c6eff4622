"""What people are told about recipes, models and clips is what they are."""

import pytest
import torch

from phonofilm.cli.describe import parameters, show
from phonofilm.errors import UserError
from phonofilm.files.media import write_clip
from phonofilm.recipes.lookup import find_recipe
from phonofilm.types import Clip

pytestmark = pytest.mark.quick


def test_a_recipe():
    text = show("jova_study")
    assert "208 video (13 x 4 x 4), 64 audio" in text
    assert "49 pixel frames of 128 x 128 at 24 fps (2.04 s), sound at 16000 Hz" in text
    assert "t2av 75%, i2av 25%" in text


def test_parameters_are_counted_once_each():
    backbone = find_recipe("jova_study").model.build()
    counts = parameters(backbone)
    assert sum(counts.values()) == sum(p.numel() for p in backbone.parameters())
    assert counts["conditions"] == sum(p.numel() for p in backbone.context.parameters())
    assert abs(counts["video"] - counts["audio"]) < 0.05 * counts["video"]  # twins but for their ports


def test_a_model_and_a_clip(model_folder, tmp_path):
    assert "recipe jova_study" in show(str(model_folder))
    clip = Clip(
        video=torch.zeros(5, 3, 32, 32, dtype=torch.uint8), audio=torch.zeros(1, 0), fps=24.0, sample_rate=16000
    )
    write_clip(tmp_path / "x.mp4", clip, manifest={"seed": 5})
    assert show(str(tmp_path / "x.mp4")) == '{\n "seed": 5\n}'
    with pytest.raises(UserError, match="unknown model 'jova_poket'"):
        show("jova_poket")
