"""Studies of UniAVGen's claims: aligners, face mask, guidance, place of the exchange; with the blocks they need."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from phonofilm.architectures.uniavgen import (
    A2VAligner,
    ByteUniAVGen,
    DualBranch,
    FaceAwareModulation,
    InteractionLayer,
    PairedLayer,
    V2AAligner,
    added,
    own,
)
from phonofilm.compare.studies.systems import LIPS, SAMPLING, arms
from phonofilm.compare.study import Study
from phonofilm.diffusion.guidance import Both, Guidance, unlinked
from phonofilm.diffusion.losses import FaceLoss
from phonofilm.network.alignment import MaskedWindow, NearestFrame
from phonofilm.network.blocks import Hidden, State
from phonofilm.network.layers import CrossAttention, Rotation, attend, rotate
from phonofilm.recipes import pocket, uniavgen
from phonofilm.recipes.experiment import Experiment

STUDIES = ("uniavgen_aligners", "uniavgen_mask", "uniavgen_guidance", "uniavgen_exchange")

TURNS = (InteractionLayer, PairedLayer) * 3
"""Where the paper's exchange sits, in six layers."""
FACE = "Clips must be prepared with the region face (phonofilm prepare --recipe uniavgen_study)."


class GlobalA2VAligner(A2VAligner):
    """Pictures read all of the sound, at the distance of true seconds, rows and columns."""

    def forward(self, video: Hidden, audio: Hidden, face: Float[Tensor, "B V"]) -> Hidden:
        """The video stream with what it heard; where there is no face it hears nothing."""
        heard = attended(self, video, audio, own(audio))
        return added(video, self.out(heard * face.unsqueeze(-1).to(heard.dtype)))


class GlobalV2AAligner(V2AAligner):
    """Sound reads all pictures, at the distance of true seconds, rows and columns."""

    def forward(self, audio: Hidden, video: Hidden, face: Float[Tensor, "B V"]) -> Hidden:
        """The audio stream with what it saw of the face."""
        x = own(video)
        return added(audio, self.out(attended(self, audio, video, x * face.unsqueeze(-1).to(x.dtype))))


def attended(
    reader: A2VAligner | V2AAligner, stream: Hidden, other: Hidden, read: Float[Tensor, "B L D"]
) -> Float[Tensor, "B S D"]:
    """Attention of a stream's grid to what is read of the other's, in the towers' own positions."""
    p = reader.projection
    v = p.values(read)
    q, k = rotate(p.queries(own(stream)), placed(stream)), rotate(p.keys(read), placed(other))
    return attend(q.to(v.dtype), k.to(v.dtype), v)


def placed(hidden: Hidden) -> Rotation:
    """Rotations of the grid's tokens, without references."""
    return hidden.rotation[:, : hidden.grid.tokens]


class Everywhere(InteractionLayer):
    """A layer of both towers, then attention to the whole other stream."""

    def __init__(self, numbers: DualBranch, text_attention: type[CrossAttention], index: int) -> None:
        super().__init__(numbers, text_attention, index)
        self.a2v = GlobalA2VAligner(numbers.video, numbers.audio.width, numbers.interaction)
        self.v2a = GlobalV2AAligner(numbers.audio, numbers.video.width, numbers.interaction)


class Unveiled(FaceAwareModulation):
    """No mask: all of the picture takes part."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, video: Hidden) -> Float[Tensor, "B V"]:
        """One for every token of the grid."""
        return torch.ones_like(own(video)[..., 0], dtype=torch.float32)


class Unmasked(InteractionLayer):
    """A layer of both towers, then the exchange of all tokens."""

    def __init__(self, numbers: DualBranch, text_attention: type[CrossAttention], index: int) -> None:
        super().__init__(numbers, text_attention, index)
        self.face = Unveiled()


class BeforeText(InteractionLayer):
    """The exchange between self-attention and text."""

    def forward(self, state: State) -> State:
        """The streams meet after self-attention."""
        state = replace(
            state, video=self.video.self_attention(state.video), audio=self.audio.self_attention(state.audio)
        )
        state = self.exchange(state)
        video, audio = self.video.cross_attention(state.video), self.audio.cross_attention(state.audio)
        return replace(state, video=self.video.feed_forward(video), audio=self.audio.feed_forward(audio))


class BeforeMLP(InteractionLayer):
    """The exchange between text and MLP."""

    def forward(self, state: State) -> State:
        """The streams meet after they have read their text."""
        video, audio = self.video.self_attention(state.video), self.audio.self_attention(state.audio)
        state = self.exchange(
            replace(state, video=self.video.cross_attention(video), audio=self.audio.cross_attention(audio))
        )
        return replace(state, video=self.video.feed_forward(state.video), audio=self.audio.feed_forward(state.audio))


def network(study: Experiment) -> ByteUniAVGen:
    """The numbers of a small UniAVGen."""
    assert isinstance(study.model, ByteUniAVGen)
    return study.model


def layered(layers: tuple[type[PairedLayer], ...], *, mlp: int = 576) -> Experiment:
    """UniAVGen with other layers, and MLPs of so many channels."""
    study = uniavgen.uniavgen_study()
    model = network(study)
    streams = {"video": replace(model.video, mlp=mlp), "audio": replace(model.audio, mlp=mlp)}
    return replace(study, model=replace(model, layers=layers, **streams))


def masked(horizon: float) -> Experiment:
    """UniAVGen whose face loss falls to nothing at another step."""
    study = uniavgen.uniavgen_study()
    return replace(study, losses=(*study.losses[:1], FaceLoss(weight=uniavgen.FACE, horizon=horizon)))


def uniavgen_aligners() -> Study:
    """What a token reads of the other stream."""
    study = uniavgen.uniavgen_study()
    model = network(study)
    interaction = replace(model.interaction, window=MaskedWindow(0.0), seen=NearestFrame())
    return Study(
        name="uniavgen_aligners",
        claim="Windows of sound around a frame and pictures blended at a sound's own time do better than attention to "
        "all of the other stream or to the same interval alone.",
        source="UniAVGen (arXiv 2511.03334), table 2: LS 4.09, same interval 3.73, global 3.46",
        arms=arms(
            "uniavgen_aligners",
            {
                "aligned": study,
                "same_interval": replace(study, model=replace(model, interaction=interaction)),
                "global": layered((Everywhere, PairedLayer) * 3),
            },
        ),
        figure=LIPS,
        note=f"The paper does not say how global attention is placed: here by true seconds. Its mixed rows are left "
        f"out. {FACE}",
    )


def uniavgen_mask() -> Study:
    """The face mask of the exchange."""
    study = uniavgen.uniavgen_study()
    unsupervised = replace(study, losses=study.losses[:1], regions=study.regions[1:])
    open_layers = layered((Unmasked, PairedLayer) * 3)
    return Study(
        name="uniavgen_mask",
        claim="A face mask that is supervised at first and then left free does better than none, one that nobody "
        "supervises, and one that is supervised to the end.",
        source="UniAVGen (arXiv 2511.03334), table 3: LS 4.09; none 3.89, unsupervised 3.92, fixed 4.11 (but worse in "
        "timbre and emotion)",
        arms=arms(
            "uniavgen_mask",
            {
                "decaying": masked(study.train.steps),
                "none": replace(open_layers, losses=unsupervised.losses, regions=unsupervised.regions),
                "unsupervised": unsupervised,
                "fixed": masked(math.inf),
            },
        ),
        figure=LIPS,
        note=f"In the lips alone the paper has the fixed mask ahead by 0.02. {FACE}",
    )


def uniavgen_guidance() -> Study:
    """What guidance moves away from."""
    study = uniavgen.uniavgen_study()
    by_text = Guidance(contrast=pocket.NEGATIVE, video_scale=2.5, audio_scale=2.5)
    return Study(
        name="uniavgen_guidance",
        claim="Guidance away from towers that neither read text nor meet does better than guidance by text alone.",
        source="UniAVGen (arXiv 2511.03334), table 9: LS 5.95; plain 5.81, everywhere 6.29, none 5.75",
        arms=arms(
            "uniavgen_guidance",
            {
                "modality_aware_early": study,
                "plain": replace(study, guidance=(by_text,)),
                "modality_aware": replace(
                    study, guidance=(replace(by_text, contrast=Both((pocket.NEGATIVE, unlinked))),)
                ),
                "none": replace(study, guidance=()),
            },
        ),
        figure=LIPS,
        note=f"{SAMPLING} Scale 2.5 for both streams, the paper has 3 and 2. In the lips alone the paper has "
        f"guidance at all noise levels ahead; it prefers the early half for its pictures. {FACE}",
    )


def uniavgen_exchange() -> Study:
    """Which layers meet, and where in them."""
    return Study(
        name="uniavgen_exchange",
        claim="The exchange does best after every second layer, before the next self-attention.",
        source="UniAVGen (arXiv 2511.03334), tables 7 and 8: LS 4.09; all layers 4.01, first half 4.02, last half "
        "3.79, before text 3.98, before MLP 3.85",
        arms=arms(
            "uniavgen_exchange",
            {
                "interleaved": layered(TURNS),
                "all": layered((InteractionLayer,) * 6, mlp=448),
                "first_half": layered((InteractionLayer,) * 3 + (PairedLayer,) * 3),
                "last_half": layered((PairedLayer,) * 3 + (InteractionLayer,) * 3),
                "before_text": layered((BeforeText, PairedLayer) * 3),
                "before_mlp": layered((BeforeMLP, PairedLayer) * 3),
            },
        ),
        figure=LIPS,
        note=f"6 layers instead of 30. Where all layers meet, narrower MLPs keep the parameters equal. {FACE}",
    )
