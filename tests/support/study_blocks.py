"""Blocks that stand in studies alone, in narrow networks: the conformance tests run them as they run every system."""

from dataclasses import replace

from phonofilm.architectures.uniavgen import PairedLayer
from phonofilm.compare.studies import ccl as studies_ccl
from phonofilm.compare.studies import uniavgen as studies_uniavgen
from phonofilm.compare.studies.systems import ccl_joint
from phonofilm.recipes import ccl, uniavgen
from phonofilm.recipes.experiment import Experiment

RECIPES = ("uniavgen_layers", "ccl_whole", "ccl_unrouted", "ccl_gate", "ccl_ovi")


def uniavgen_layers() -> Experiment:
    """Every other way to meet, one after the other."""
    layers = (
        studies_uniavgen.Everywhere,
        PairedLayer,
        studies_uniavgen.Unmasked,
        studies_uniavgen.BeforeText,
        studies_uniavgen.BeforeMLP,
    )
    model = replace(uniavgen.model(width=64, heads=2, mlp=64), layers=layers)
    return replace(uniavgen.uniavgen_study(), model=model)


def narrow(block: type[studies_ccl.CCLBlock], num_context: int) -> Experiment:
    """CCL with three blocks of a kind."""
    model = ccl.model(heads=(2, 1), head=32, mlp=32, num_blocks=3)
    return replace(ccl_joint(), model=replace(model, block=block, num_context=num_context))


def ccl_whole() -> Experiment:
    """No windows."""
    return narrow(studies_ccl.Whole, 3)


def ccl_unrouted() -> Experiment:
    """Given tokens as all others."""
    return narrow(studies_ccl.UnroutedBlock, 3)


def ccl_gate() -> Experiment:
    """A gate and no context tokens."""
    return narrow(studies_ccl.GatedBlock, 0)


def ccl_ovi() -> Experiment:
    """Ovi's exchange."""
    return narrow(studies_ccl.OviExchangeBlock, 0)
