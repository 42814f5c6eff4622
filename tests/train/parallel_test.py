"""The type of matrix products: what is asked for is what runs, and float32 stays where it must."""

import pytest
import torch
from training import Noise, tiny

from phonofilm.errors import UserError
from phonofilm.train import draw, loop, parallel

pytestmark = pytest.mark.quick

CPU = torch.device("cpu")


def step(arithmetic):
    """Output and losses of one forward pass, and the weights after the step."""
    experiment = tiny(arithmetic=arithmetic)
    with parallel.world("cpu") as world:
        learner = loop.start(experiment, world)
        torch.manual_seed(0)
        for parameter in learner.backbone.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        plan = draw.plan(experiment, Noise().buckets, 3, 0)
        input, _ = draw.assemble(experiment, Noise(), plan, range(4))
        with parallel.arithmetic(experiment.train, CPU):
            output = learner.backbone(input)
        losses, _ = loop.advance(experiment, learner, Noise(), 0, world)
        return output, losses, dict(learner.backbone.named_parameters())


def test_bfloat16_changes_products_a_little_and_leaves_weights_and_outputs_in_float32():
    exact, losses, _ = step("float32")
    short, near, weights = step("bfloat16")
    assert {output.dtype for output in (short.video, short.audio)} == {torch.float32}
    assert {parameter.dtype for parameter in weights.values()} == {torch.float32}
    assert not torch.equal(exact.video, short.video)
    assert near == pytest.approx(losses, rel=0.02)


def test_auto_takes_what_the_device_is_fast_at():
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert parallel.uses_bfloat16(tiny(arithmetic="auto").train, CPU) == fast
    assert parallel.uses_bfloat16(tiny(arithmetic="auto").train, torch.device("cuda"))


def test_unknown_arithmetic_is_refused():
    with pytest.raises(UserError, match="float16"):
        parallel.uses_bfloat16(tiny(arithmetic="float16").train, CPU)
