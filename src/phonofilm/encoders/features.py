"""Features of frozen text encoders through transformers: T5 and umT5, by hub id or path."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from phonofilm.errors import UserError
from phonofilm.files.safetensors_index import entries
from phonofilm.types import NOT_RECORDED, Prompt, Tokens

NETWORK, TOKENIZER = "text_encoder", "tokenizer"
"""Folders inside a checkpoint folder."""
SOUND = "sound_encoder"
"""Another: network and tokenizer of what reads the text of the sound, where it is not the picture's."""


@dataclass(frozen=True)
class FeatureEncoder:
    """Last hidden states of a T5-like encoder for one text of each prompt.

    The network is loaded from ``path`` (a folder or a hub id) at the first call, in the type in which it is stored, and
    shared by all encoders of that path. A folder may hold it as ``text_encoder`` and ``tokenizer``, a checkpoint's
    ``folder`` among them, which then comes before ``path``.
    """

    path: str
    field: Callable[[Prompt], str]
    length: int = 512
    """Longest text in tokens; a longer one is a ValueError."""
    folder: str = dataclasses.field(default="", metadata=NOT_RECORDED)
    """A checkpoint folder that holds the network; "" where it comes from ``path``."""
    device: str = dataclasses.field(default="cpu", metadata=NOT_RECORDED)
    """Where the network computes."""
    kept: str = dataclasses.field(default="", metadata=NOT_RECORDED)
    """A folder that keeps the features of every text, so that training makes each once; "" keeps none."""

    def at(self, folder: Path) -> FeatureEncoder:
        """The same with the network of a checkpoint folder, where it has one."""
        return replace(self, folder=str(folder)) if (folder / NETWORK).is_dir() else self

    def on(self, device: str, kept: str = "") -> FeatureEncoder:
        """The same on a device; ``kept`` is a folder that keeps the features of every text."""
        return replace(self, device=device, kept=kept)

    @property
    def source(self) -> str:
        """Where the network is loaded from."""
        return self.folder or self.path

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Features (B L E) on the CPU, and the mask of real tokens."""
        texts = [self.field(prompt) for prompt in prompts]
        if not self.kept:
            return self.made(texts)
        rows = [self.remembered(text) for text in texts]
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in rows], batch_first=True)
        return Tokens(x=pad_sequence(rows, batch_first=True), mask=mask)

    def remembered(self, text: str) -> Float[Tensor, "L E"]:
        """The features of one text out of ``kept``; made and kept where they are not there.

        Raises ``UserError`` for a file that is damaged.
        """
        name = hashlib.sha256(text.encode()).hexdigest()[:32]
        path = Path(self.kept) / content_hash(self.source) / f"{name}.safetensors"
        if not path.is_file():
            _, network = load_text_encoder(self.source, self.device)
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
            save_file({"features": self.made([text]).x[0].to(network.dtype)}, partial)  # as exact as they were made
            partial.replace(path)
        try:
            return load_file(path)["features"].float()
        except (SafetensorError, KeyError) as error:
            raise UserError(f"{path} is damaged ({error}): delete it, and it is made again") from error

    def made(self, texts: Sequence[str]) -> Tokens:
        """Features (B L E) of some texts on the CPU, and the mask of real tokens."""
        tokenizer, network = load_text_encoder(self.source, self.device)
        read = tokenizer(list(texts), return_tensors="pt", padding=True)
        if read["input_ids"].shape[1] > self.length:
            raise ValueError(
                f"a prompt has {read['input_ids'].shape[1]} tokens, {self.source} takes {self.length}: shorten it"
            )
        with torch.no_grad():
            features = network(**read.to(self.device)).last_hidden_state
        return Tokens(x=features.float().cpu(), mask=read["attention_mask"].bool().cpu())


@dataclass(frozen=True)
class SoundFeatures(FeatureEncoder):
    """The same for systems that read the sound's text through an encoder of its own: ``sound_encoder`` in a folder."""

    def at(self, folder: Path) -> SoundFeatures:
        """The same with the network of a checkpoint folder, where it has one."""
        return replace(self, folder=str(folder / SOUND)) if (folder / SOUND).is_dir() else self


@dataclass(frozen=True)
class Filled:
    """An encoder whose texts are filled with zeros to one length; the zeros count.

    Wan's towers, and what was trained from them, read the padding of a text as they read its words.
    """

    encoder: FeatureEncoder

    def at(self, folder: Path) -> Filled:
        """The same with the network of a checkpoint folder, where it has one."""
        return Filled(self.encoder.at(folder))

    def on(self, device: str, kept: str = "") -> Filled:
        """The same on a device; ``kept`` is a folder that keeps the features of every text."""
        return Filled(self.encoder.on(device, kept))

    def __call__(self, prompts: Sequence[Prompt]) -> Tokens:
        """Features (B L E), L the encoder's length, and a mask of true values."""
        tokens = self.encoder(prompts)
        x = torch.where(tokens.mask.unsqueeze(-1), tokens.x, 0.0)
        x = F.pad(x, (0, 0, 0, self.encoder.length - x.shape[1]))
        return Tokens(x=x, mask=torch.ones(x.shape[:2], dtype=torch.bool, device=x.device))


@dataclass(frozen=True)
class Constant:
    """One text whatever the prompt says: a negative prompt that a release always uses."""

    text: str

    def __call__(self, prompt: Prompt) -> str:
        return self.text


@dataclass(frozen=True)
class NegativeOr:
    """The prompt's negative, or a release's where a prompt has none."""

    text: str

    def __call__(self, prompt: Prompt) -> str:
        return prompt.negative or self.text


@lru_cache(maxsize=2)
def load_text_encoder(path: str, device: str = "cpu") -> tuple:
    """Tokenizer and encoder of a path, in evaluation mode, on a device. Neither code of the path's own nor pickles run.

    Raises ``UserError`` for another kind of network, where there is none or one that wants code of its own run, and
    where a tensor is missing or its file truncated.
    """
    from transformers import AutoConfig, AutoTokenizer, T5EncoderModel, UMT5EncoderModel

    parts = (f"{path}/{NETWORK}", f"{path}/{TOKENIZER}") if (Path(path) / NETWORK).is_dir() else (path, path)
    for file in sorted(Path(parts[0]).glob("*.safetensors")):
        entries(file)
    with read_by_transformers(path):
        kind = AutoConfig.from_pretrained(parts[0], trust_remote_code=False).model_type
        network = {"t5": T5EncoderModel, "umt5": UMT5EncoderModel}.get(kind)
        if network is None:
            raise UserError(f"{parts[0]} is a {kind!r} model; text encoders here are t5 or umt5")
        tokenizer = AutoTokenizer.from_pretrained(parts[1], trust_remote_code=False)
        encoder, found = network.from_pretrained(parts[0], output_loading_info=True, use_safetensors=True)
    check_whole(parts[0], found)
    return tokenizer, encoder.to(device).eval().requires_grad_(False)


@contextmanager
def read_by_transformers(path: str) -> Iterator[None]:
    """What transformers finds wrong with a folder's files, as a ``UserError`` in one line."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            raise UserError(
                f"{path} brings code of its own (auto_map in its JSON files), which is never run here: take a folder "
                "without, whose classes transformers knows"
            ) from error
        raise UserError(
            f"{path} cannot be read by transformers ({type(error).__name__}: {reason[:300]}); its weights must be "
            "safetensors, its JSON files whole"
        ) from error


@lru_cache(maxsize=8)
def content_hash(path: str) -> str:
    """What tells the text encoder of a path from any other: its files' SHA-256, or a hub's commit; 16 digits."""
    folders = [Path(path) / part for part in (NETWORK, TOKENIZER)] if (Path(path) / NETWORK).is_dir() else [Path(path)]
    files = sorted(file for folder in folders for file in folder.glob("*") if file.is_file())
    found = hashlib.sha256()
    if not files:
        from transformers import AutoConfig

        found.update(f"{path} {AutoConfig.from_pretrained(path, trust_remote_code=False)._commit_hash}".encode())
    for file in files:
        found.update(file.name.encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:16]


def check_whole(path: str, found: dict[str, Any]) -> None:
    """``UserError`` where transformers found weights missing or misshapen, which it would fill with random ones."""
    for problem in ("missing", "mismatched"):
        names = sorted(map(str, found[f"{problem}_keys"]))
        if names:
            raise UserError(f"{path}: {len(names)} {problem} weights, the first is {names[0]}")
