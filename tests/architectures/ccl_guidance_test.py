"""CCL's four forms of guidance, each held to its formula."""

import pytest
import torch

from phonofilm.diffusion.guidance import Swap, guided, together
from phonofilm.recipes import ccl
from phonofilm.types import AVInput, AVOutput, Grid, Layout, Links, Stream, Tokens

VIDEO, AUDIO = Grid(4, 2, 1, 1 / 24, 4 / 24), Grid(17, 1, 1, 0.032, 0.032)
LAYOUT = Layout(VIDEO, AUDIO)


def spoken(value):
    """A condition of one number."""
    return Tokens(x=torch.full((1, 1), value), mask=torch.ones(1, 1, dtype=torch.bool))


def v(y, r):
    return 7 * y + 3 * r + 5 * y * r + 1


def four_states(input: AVInput) -> AVOutput:
    """A model that says v(text, links), row by row; the sound says twice as much."""
    said = v(input.cond["text"].x[:, :, None], float(input.links == Links()))
    return AVOutput(video=said, audio=2 * said)


DROP = Swap((("text", "nothing"),))
FORMS = {
    "U1": (ccl.joint_guidance(DROP, (4.0, 3.0)), lambda s, t: v(0, 0) + s * (v(1, 1) - v(0, 0)), 2),
    "U2": (ccl.text_guidance(DROP, (4.0, 3.0)), lambda s, t: v(0, 1) + s * (v(1, 1) - v(0, 1)), 2),
    "U3": (ccl.partner_guidance((4.0, 3.0)), lambda s, t: v(1, 0) + s * (v(1, 1) - v(1, 0)), 2),
    "U4": (
        ccl.nested_guidance(DROP, (4.0, 3.0), (2.0, 1.5)),
        lambda s, t: v(0, 0) + s * (v(1, 0) - v(0, 0)) + t * (v(1, 1) - v(1, 0)),
        3,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_unconditional_context_guidance_is_its_formula(form):
    terms, formula, passes = FORMS[form]
    one = torch.ones(1)
    stream = Stream(
        x=torch.zeros(1, 1, 1),
        sigma=one,
        given=torch.zeros(1, 1, dtype=torch.bool),
        pos=torch.zeros(1, 1, 3),
        beside=torch.zeros(1, 1, 0),
        grid=Grid(1, 1, 1, 0.1, 0.1),
    )
    input = AVInput(video=stream, audio=stream, cond={"text": spoken(1.0), "nothing": spoken(0.0)})
    calls = []

    def counted(input):
        calls.append(input)
        return four_states(input)

    output = guided(counted, *terms)(input)
    assert output.video.item() == pytest.approx(formula(4.0, 2.0))
    assert output.audio.item() == pytest.approx(2 * formula(3.0, 1.5))
    assert len(calls) == passes
    assert guided(four_states, *terms, passes=together)(input).video.item() == pytest.approx(formula(4.0, 2.0))
