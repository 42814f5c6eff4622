"""Codecs out of what their authors publish, as folders that ``phonofilm import --codecs`` takes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from safetensors import safe_open

from phonofilm.checkpoints.importing import files
from phonofilm.checkpoints.importing_mmaudio import PICKLES_16K, PICKLES_44K, import_mmaudio
from phonofilm.codecs.folders import load_strictly
from phonofilm.codecs.licences import check_licences
from phonofilm.codecs.mel_codec import MelCodec
from phonofilm.errors import UserError
from phonofilm.files.atomic import appearing
from phonofilm.files.safetensors_index import entries
from phonofilm.files.stored_json import read_json
from phonofilm.recipes import published

QWEN = "token2wav.code2wav_bigvgan_model."
"""Before the names of the vocoder's tensors in Qwen2.5-Omni."""


def import_qwen(source: Path, folder: Path) -> int:
    """Write the vocoder of a folder with Qwen2.5-Omni as a codec folder; how many tensors that was.

    Raises ``UserError`` that names the tensor which is missing, surplus, misshapen, truncated or not finite; nothing is
    left then.
    """
    path = source / "config.json"
    try:
        config = read_json(path)["token2wav_config"]["bigvgan_config"]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} does not describe Qwen2.5-Omni with its vocoder ({error!r})") from error
    found = {name: entry for file in files(source) for name, entry in entries(file).items() if name.startswith(QWEN)}
    tensors = {}
    for name, entry in found.items():
        with safe_open(entry.path, framework="pt") as file:
            tensors[name.removeprefix(QWEN)] = file.get_tensor(name)
    codec = MelCodec.build(config)
    load_strictly(codec.vocoder, tensors, where=str(source))
    with appearing(folder) as unfinished:
        codec.save(unfinished)
    return len(tensors)


def import_mmaudio_16k(source: Path, folder: Path) -> int:
    """Write ``v1-16.pth`` and ``best_netG.pt`` of a folder as a codec folder; how many tensors that was."""
    return import_mmaudio(source, folder, published.mmaudio_16k(), PICKLES_16K)


def import_mmaudio_44k(source: Path, folder: Path) -> int:
    """Write ``v1-44.pth`` and ``bigvgan_generator.pt`` of a folder as a codec folder; how many tensors that was."""
    return import_mmaudio(source, folder, published.mmaudio_44k(), PICKLES_44K)


CODECS: dict[str, Callable[[Path, Path], int]] = {
    "qwen_mel": import_qwen,
    "mmaudio_16k": import_mmaudio_16k,
    "mmaudio_44k": import_mmaudio_44k,
}
"""By the name of the preset (``recipes/published.py``)."""


def import_codec(name: str, source: Path, folder: Path, accepted: Collection[str] = ()) -> int:
    """Write one of ``CODECS`` as a codec folder; how many tensors were read.

    Raises ``UserError`` for a restricted licence that is not among ``accepted``, and for files that do not fit.
    """
    check_licences([getattr(published, name)], accepted)
    return CODECS[name](source, folder)
