"""What examples and their walk-through promise beside the conformance tests."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import phonofilm
from examples import fine_tune, generate, own_guidance
from examples.experts import Expert, Experts, Trunk
from examples.experts_recipe import experts_study
from phonofilm.checkpoints.folder import read_weights
from phonofilm.types import AVOutput

ROOT = Path(__file__).parents[1]


def test_the_walk_through_quotes_the_example():
    page = (ROOT / "docs" / "guides" / "own-architecture.md").read_text()
    code = "".join((ROOT / "examples" / name).read_text() for name in ("experts.py", "experts_recipe.py"))
    quotes = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(quotes) == 5
    assert [quote for quote in quotes if quote not in code] == []


def test_experts_stand_at_both_ends_of_the_trunk():
    with torch.device("meta"):
        blocks = experts_study().model.build().blocks
    assert [type(block) for block in blocks] == [Expert] * 2 + [Trunk] * 4 + [Expert] * 2


def test_streams_of_unequal_numbers_are_refused():
    numbers = experts_study().model
    assert isinstance(numbers, Experts)
    with pytest.raises(ValueError, match="equal numbers"):
        replace(numbers, audio=replace(numbers.audio, mlp=7))


def test_clips_from_python(tmp_path):
    generate.main(tmp_path)
    for name in ("talk.mp4", "portrait.mp4"):
        clip = phonofilm.read_clip(tmp_path / name)
        assert len(clip.video) == 49
        assert clip.audio.abs().max() > 0.1


def test_a_shipped_model_is_fine_tuned(tmp_path):
    fine_tune.main(tmp_path, clips=4, steps=1)
    before, after = (read_weights(folder) for folder in (fine_tune.POCKET, tmp_path / "model"))
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name].float(), after[name])]
    assert len(moved) > len(before) / 2
    assert len(phonofilm.read_clip(tmp_path / "clip.mp4").video) == 49


def test_own_guidance_gives_clips_of_its_own(tmp_path):
    own_guidance.main(tmp_path, steps=2)
    clips = [phonofilm.read_clip(path).video for path in sorted(tmp_path.glob("*.mp4"))]
    assert len(clips) == 4
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(clips, 2))


def test_a_rescaled_velocity_has_the_plain_spread(generator):
    plain, guided = (
        AVOutput(video=torch.randn(2, 5, 3, generator=generator), audio=torch.randn(2, 7, 4, generator=generator))
        for _ in range(2)
    )
    strong = replace(guided, video=guided.video * 3)
    rescaled = own_guidance.rescaled(None, plain, strong)
    for stream in ("video", "audio"):
        spread = getattr(rescaled, stream).std(dim=(1, 2))
        torch.testing.assert_close(spread, getattr(plain, stream).std(dim=(1, 2)))


def test_the_notebook_is_python_and_holds_no_outputs():
    cells = json.loads((ROOT / "examples" / "clip.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in cells if cell["cell_type"] == "code"] == [[]] * len(code)
    for text in code:
        compile(text, "clip.ipynb", "exec")
