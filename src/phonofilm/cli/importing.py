"""``phonofilm import``: published weights as a folder of this library."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from phonofilm.cli.arguments import say
from phonofilm.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Import:
    """Turn a published checkpoint into a folder that generates and trains; nothing is left where it does not fit.

    phonofilm import Ovi/model_960x960.safetensors --as ovi_paper -o models/ovi
    """

    checkpoint: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="CHECKPOINT")]]
    """A .safetensors file, or a folder with shards of one; with MMAudio's pickles for its codecs."""
    recipe: Annotated[str, tyro.conf.arg(name="as")]
    """The recipe whose network the weights are; or a codec for --codecs: qwen_mel, the vocoder inside Qwen2.5-Omni,
    mmaudio_16k (v1-16.pth, best_netG.pt) or mmaudio_44k (v1-44.pth, bigvgan_generator.pt)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The folder that is written; it must not be there."""
    init: bool = False
    """The checkpoint is Wan's, in diffusers' names or its own: start from it, the rest with fresh values."""
    codecs: tuple[Path, ...] = ()
    """Folders that between them hold vae, audio_vae and vocoder, perhaps text_encoder, tokenizer, speaker_encoder and
    vocab.txt; the first that has one counts. Without codecs the weights can train but not generate."""
    accept: tuple[str, ...] = ()
    """Licences of restricted weights that you accept, such as CC-BY-NC-4.0."""

    def run(self) -> None:
        """Check all, then write."""
        from phonofilm.checkpoints.importing import Codecs, import_weights
        from phonofilm.checkpoints.importing_codecs import CODECS, import_codec

        if self.recipe in CODECS:
            if self.codecs or self.init:
                raise UserError(f"--as {self.recipe} is a codec: --codecs and --init have no effect there")
            count = import_codec(self.recipe, self.checkpoint, self.output, self.accept)
            say(f"{self.output}: {count} tensors of {self.checkpoint}")
            return
        codecs = Codecs(self.codecs, frozenset(self.accept)) if self.codecs else None
        plan = import_weights(self.checkpoint, self.recipe, self.output, init=self.init, codecs=codecs)
        say(f"{self.output}: {len(plan.parts)} tensors of {self.checkpoint}")
        if plan.fresh:
            say(f"fresh: {len(plan.fresh)} tensors that the checkpoint has not")
            say("\n".join(f"  {name}" for name in plan.fresh))
