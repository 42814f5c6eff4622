"""Codecs whose weights somebody else published: how to build them, and under which licence their weights stand."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from phonofilm.codecs.protocols import AudioCodec, VideoCodec
from phonofilm.errors import UserError

C = TypeVar("C", bound=VideoCodec | AudioCodec)


@dataclass(frozen=True)
class Preset(Generic[C]):
    """A published codec by its configuration. Calling it builds the network with random weights."""

    build: Callable[[], C]
    licence: str
    """Of the published weights (SPDX); the configuration itself is free."""
    restricted: bool = False
    """Whether the licence forbids common uses, such as commercial ones."""

    def __call__(self) -> C:
        return self.build()

    def __reduce__(self) -> tuple[Callable[[str, str], object], tuple[str, str]]:
        """Pickled by name, as functions are: a preset stands where its function's name leads."""
        return _found, (self.build.__module__, self.build.__qualname__)

    def check(self, accepted: Collection[str]) -> None:
        """``UserError`` where the weights are restricted and their licence is not among those accepted."""
        if self.restricted and self.licence not in accepted:
            name = getattr(self.build, "__name__", "this codec")
            raise UserError(
                f"the weights of {name} are under {self.licence}, which restricts their use: "
                f"if that suits you, say --accept {self.licence}"
            )


def check_licences(codecs: Iterable[object], accepted: Collection[str]) -> None:
    """``UserError`` for the first restricted codec among a recipe's whose licence is not accepted."""
    for codec in codecs:
        if isinstance(codec, Preset):
            codec.check(accepted)


def _found(module: str, name: str) -> object:
    return getattr(importlib.import_module(module), name)


def preset(licence: str, *, restricted: bool = False) -> Callable[[Callable[[], C]], Preset[C]]:
    """Make a function that builds a published codec a ``Preset``."""
    return lambda build: Preset(build, licence, restricted)
