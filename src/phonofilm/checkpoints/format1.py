"""A network's numbers as format 1 of ``experiment.json`` has them, so that folders written before format 2 load.

Format 1 was flat and had no types: what a stream's output layer predicts is not in it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from phonofilm.network.ports import Data, DiTTime, StreamConfig

FREQ_DIM = 256
"""The sinusoid's channels in all networks of that time."""
SMALLEST = 0.05
"""The smallest noise level that a prediction of the data was divided by."""


def format1_numbers(model: Any) -> dict[str, Any]:
    """The fields of a network's numbers, each stream's flat: ``dataclasses.asdict`` as it was then."""
    numbers = dataclasses.asdict(model)
    streams = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    return numbers | {name: _flat(part) for name, part in streams.items() if isinstance(part, StreamConfig)}


def _flat(stream: StreamConfig) -> dict[str, Any]:
    numbers = dataclasses.asdict(stream)
    for leaf in ("embed", "time", "predict", "pooled"):
        del numbers[leaf]
    numbers |= dataclasses.asdict(stream.embed)
    numbers["time"] = stream.time.width if isinstance(stream.time, DiTTime) else 0
    if stream.pooled:
        numbers["pooled"] = stream.pooled.channels
    if stream.time.freq_dim != FREQ_DIM:  # no folder of that time has it, so that none is taken for this network
        numbers["freq_dim"] = stream.time.freq_dim
    if isinstance(stream.predict, Data) and stream.predict.smallest != SMALLEST:
        numbers["smallest"] = stream.predict.smallest
    return numbers
