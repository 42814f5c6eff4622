"""Studies of CCL's claims: partitioning, context tokens, routing, guidance, exchange; with the blocks they need.

CCL is a reconstruction (docs/systems/ccl.md): what is tried is our reading of the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.architectures.ccl import CCL, CCLBlock, CrossModalContextAttention, Group, QueryGroups, WholeTokenWindows
from phonofilm.architectures.ovi import OviBlock, shrink_fusion
from phonofilm.compare.studies.systems import LIPS, SAMPLING, arms, ccl_joint
from phonofilm.compare.study import Study
from phonofilm.diffusion import tasks
from phonofilm.network.blocks import Hidden, State, with_tokens
from phonofilm.network.layers import Rope, init_linear
from phonofilm.network.ports import StreamConfig
from phonofilm.recipes import ccl
from phonofilm.recipes.experiment import Experiment
from phonofilm.types import Grid

STUDIES = ("ccl_partitioning", "ccl_tokens", "ccl_routing", "ccl_guidance", "ccl_exchange")

TABLE = "CCL (arXiv 2603.18600), table 2, whose numbers could not be read"
FREE = {"a2v": tasks.A2V, "v2a": tasks.V2A}
"""Tasks that give a whole stream, with both links open."""


class Whole(CCLBlock):
    """Every token may read all of the other stream, at the distance of true seconds."""

    def windows(self, video: Grid, audio: Grid, device: torch.device) -> tuple[QueryGroups, QueryGroups]:
        """One window for each direction."""
        seen, heard = (torch.arange(grid.tokens, device=device) for grid in (video, audio))
        return QueryGroups((Group(seen[None], heard[None]),), seen), QueryGroups(
            (Group(heard[None], seen[None]),), heard
        )


class Unrouted(CrossModalContextAttention):
    """Given tokens read and are read as all others, with gradients."""

    def forward(self, own: Hidden, other: Hidden, windows: QueryGroups | None) -> Hidden:
        """The stream after reading."""
        reader, read = (replace(hidden, given=torch.zeros_like(hidden.given)) for hidden in (own, other))
        return with_tokens(own, super().forward(reader, read, windows).x)


class UnroutedBlock(CCLBlock):
    """A layer whose streams meet without regard to what is given."""

    attention: ClassVar[type[CrossModalContextAttention]] = Unrouted


class Gate(nn.Linear):
    """A linear layer without bias whose result is scaled by a learnt gate, channel by channel, from 0 on."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, bias=False)
        self.gate = nn.Parameter(torch.zeros(width))

    def forward(self, input: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """The gated result; a gate of 1 is no gate."""
        return self.gate * super().forward(input)


class GatedAttention(CrossModalContextAttention):
    """Cross-attention in windows behind a gate, and no context tokens: a closed link adds nothing."""

    def __init__(self, own: StreamConfig, other: StreamConfig, num_context: int, positions: Rope) -> None:
        super().__init__(own, other, num_context, positions)
        self.out = Gate(own.width)


class GatedBlock(CCLBlock):
    """A layer whose streams meet behind gates."""

    attention: ClassVar[type[CrossModalContextAttention]] = GatedAttention

    def start(self) -> None:
        """Fresh weights; gates are closed, so what is behind them need not be zero."""
        self.apply(init_linear)


class OviExchangeBlock(CCLBlock):
    """Ovi's exchange between towers of CCL's widths: queries that read the text read all of the other stream too."""

    def __init__(self, numbers: CCL) -> None:
        nn.Module.__init__(self)
        self.twin = OviBlock(numbers.video, numbers.audio, numbers.text_attention)
        self.start()

    def start(self) -> None:
        """Fresh weights as Ovi's."""
        self.apply(init_linear)
        self.apply(shrink_fusion)

    def forward(self, state: State) -> State:
        """Both read what the other was before it read."""
        return self.twin(state)


def network(study: Experiment) -> CCL:
    """The numbers of a CCL."""
    assert isinstance(study.model, CCL)
    return study.model


def interaction(block: type[CCLBlock], *, num_context: int = 16, mlp: int = 140) -> Experiment:
    """CCL with other blocks, so many context tokens, and MLPs of so many channels for each head."""
    study = ccl_joint()
    model = network(study)
    streams = {name: replace(s, mlp=mlp * s.heads) for name, s in (("video", model.video), ("audio", model.audio))}
    return replace(study, model=replace(model, block=block, num_context=num_context, **streams))


def ccl_partitioning() -> Study:
    """Which part of the other stream a token reads."""
    study = ccl_joint()
    floored = replace(study, model=replace(network(study), partition=WholeTokenWindows()))
    return Study(
        name="ccl_partitioning",
        claim="Windows of the same time do better than attention to all of the other stream.",
        source=f"{TABLE} (TARP)",
        arms=arms("ccl_partitioning", {"seconds": study, "floored": floored, "global": interaction(Whole)}),
        figure=LIPS,
        note="Windows in seconds are our reading, those of whole tokens a third party's (13 frames, 64 tokens: the "
        "last ones are read by no frame). Global attention keeps the common clock, so only the windows are tried.",
    )


def ccl_tokens() -> Study:
    """How many context tokens there are."""
    return Study(
        name="ccl_tokens",
        claim="Learnable context tokens beside the other stream's tokens make for better lips than none.",
        source=f"{TABLE} (LCT)",
        arms=arms("ccl_tokens", {str(count): interaction(CCLBlock, num_context=count) for count in (16, 0, 1)}),
        figure=LIPS,
        note="The paper's number of tokens is not known. Nothing is pre-trained here, so that tokens cannot show how "
        "well they keep a pre-trained tower as it was. Guidance moves away from closed links, which add nothing where "
        "there are no tokens.",
    )


def ccl_routing() -> Study:
    """Whether what is given reads context tokens alone."""
    study = ccl.ccl_study()
    free = tuple((FREE.get(kind.name, kind), share) for kind, share in study.tasks)
    model = replace(network(study), block=UnroutedBlock)
    return Study(
        name="ccl_routing",
        claim="Clean tokens that read context tokens alone, and take no gradient from their readers, keep tasks from "
        "disturbing each other.",
        source=f"{TABLE} (DCR)",
        arms=arms("ccl_routing", {"routed": study, "free": replace(study, model=model, tasks=free)}),
        figure=LIPS,
        note="Both arms have CCL's mix of tasks, of which half are joint; the figure is of joint generation alone. The "
        "routing is our reading of the paper.",
    )


def ccl_guidance() -> Study:
    """Four forms of guidance, and none."""
    study = ccl_joint()
    forms = {"nested": ccl.U4, "joint": ccl.U1, "text": ccl.U2, "partner": ccl.U3, "none": ()}
    return Study(
        name="ccl_guidance",
        claim="Guidance away from passes that read context tokens alone does better than guidance by text with the "
        "exchange left on.",
        source=f"{TABLE} (UCG)",
        arms=arms("ccl_guidance", {label: replace(study, guidance=form) for label, form in forms.items()}),
        figure=LIPS,
        note=f"{SAMPLING} The forms are our reading; scales 2.5 for text and 2 for the partner, untuned.",
    )


def ccl_exchange() -> Study:
    """Context attention against two other ways to meet."""
    return Study(
        name="ccl_exchange",
        claim="Context attention without a gate does better than gated cross-attention and than reading the other "
        "stream with the text.",
        source="CCL (arXiv 2603.18600), abstract and table 1, whose numbers could not be read; Ovi (arXiv 2510.01284)",
        arms=arms(
            "ccl_exchange",
            {
                "context": ccl_joint(),
                "ovi": interaction(OviExchangeBlock, mlp=176),
                "gate": interaction(GatedBlock, num_context=0),
            },
        ),
        figure=LIPS,
        note="The paper says that a gate harms pre-trained towers; here nothing is pre-trained. The gate is one number "
        "per channel and layer, from 0, in the same windows. Ovi's exchange reads the whole other stream and has fewer "
        "weights: wider MLPs keep the parameters equal. Guidance is CCL's in all arms.",
    )
