"""What examples and their walk-through promise beside the conformance tests."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from examples.experts import Expert, Experts, Trunk
from examples.experts_recipe import experts_study

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
