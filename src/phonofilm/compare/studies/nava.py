"""Studies of NAVA's claims: align layers before fuse layers, alignment guidance, and guidance by a reference voice."""

from __future__ import annotations

from dataclasses import replace

from phonofilm.compare.studies.systems import LIPS, SAMPLING, arms
from phonofilm.compare.study import Study
from phonofilm.recipes import nava
from phonofilm.recipes.experiment import Experiment

STUDIES = ("nava_guidance", "nava_layers", "nava_timbre")

VOICE = "exact.voice_of_ten"
"""What the paper measures by the similarity of speaker vectors: whether the voice heard is the reference's."""


def layered(*, num_align: int, num_fuse: int, mlp: int) -> Experiment:
    """NAVA with so many layers of each kind and MLPs of so many channels."""
    made = nava.model(width=160, heads=2, mlp=mlp, inner=160, num_align=num_align, num_fuse=num_fuse)
    return replace(nava.nava_study_joint(), model=made)


def nava_guidance() -> Study:
    """With and without the pass in which the streams do not see each other."""
    study = nava.nava_study_joint()
    by_text, apart = study.guidance
    return Study(
        name="nava_guidance",
        claim="Guidance away from streams that do not see each other keeps lips and speech together.",
        source="NAVA (arXiv 2605.30073), table 4: Sync-C 6.170 without, 7.791 with [secondary summary]",
        arms=arms(
            "nava_guidance",
            {
                "text_and_alignment": study,
                "text": replace(study, guidance=(by_text,)),
                "alignment": replace(study, guidance=(apart,)),
                "none": replace(study, guidance=()),
            },
        ),
        figure=LIPS,
        note=f"{SAMPLING} Scales are 2.5 for text and 2.5 (picture) and 2 (sound) for alignment, untuned; the release "
        "has 4 and 3, and 4 and 3. A single arm with more guidance of any kind may also gain from its strength alone.",
    )


def nava_layers() -> Study:
    """Which layers share their weights."""
    return Study(
        name="nava_layers",
        claim="Lower layers with attention of each stream's own and upper layers that share all weights do better than "
        "either kind alone.",
        source="NAVA (arXiv 2605.30073), table 3: Sync-C 7.684, all fuse 7.643, all align 7.030 [secondary summary]",
        arms=arms(
            "nava_layers",
            {
                "align_then_fuse": nava.nava_study_joint(),
                "all_fuse": layered(num_align=0, num_fuse=7, mlp=680),
                "all_align": layered(num_align=5, num_fuse=0, mlp=568),
            },
        ),
        figure=LIPS,
        note="The paper keeps 30 layers and lets the parameters differ (5, 6.3 and 7.7 B). Here the parameters are "
        "equal and the depth differs: 2 + 4, 7 and 5 layers.",
    )


def nava_timbre() -> Study:
    """With and without the pass that has no reference voice."""
    study = nava.nava_study()
    others = tuple(term for term in study.guidance if term.contrast is not nava.NULL_VOICE)
    return Study(
        name="nava_timbre",
        claim="Guidance away from a pass without the reference voice brings the voice heard nearer to it.",
        source="NAVA (arXiv 2605.30073), table 4: speaker similarity 65.5 without, 66.7 with; its words are heard "
        "worse, WER 3.78 and 4.20 % [secondary summary]",
        arms=arms("nava_timbre", {"timbre": study, "no_timbre": replace(study, guidance=others)}),
        figure=VOICE,
        prompts={"voice": 50},
        note=f"{SAMPLING} Both have guidance by text and alignment, and read the voice. The paper measures the cosine "
        "of learned speaker vectors on clips of people; here it is counted how often the reference's voice is the "
        "nearest of ten that say the same words. The scale is 2.5, untuned; the release has 4. The reference is "
        "another sentence of the same voice; the scene tells high voices from low ones, so chance is about 0.2. The "
        "clips must hold speaker vectors: prepare --recipe nava_study.",
    )
