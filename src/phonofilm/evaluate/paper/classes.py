"""Figures from class probabilities of a sound tagger: KL against a reference, and the inception score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

EPS = 1e-6


def softmax(logits: Float[np.ndarray, "N C"]) -> Float[np.ndarray, "N C"]:
    """Probabilities of classes out of logits."""
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def kl(
    reference: Float[np.ndarray, "N C"], generated: Float[np.ndarray, "N C"], *, eps: float = EPS
) -> Float[np.ndarray, " N"]:
    """KL(reference || generated) of each pair's probabilities, in nats; ``eps`` is added to the generated side.

    av-benchmark and Verse-Bench feed the softmax of PaSST's logits and average over pairs.
    """
    # A class that the reference does not have adds nothing, whatever the generated side says.
    there = reference > 0
    logs = np.log(np.where(there, reference, 1.0)) - np.log(np.where(there, generated + eps, 1.0))
    return (reference * logs).sum(1)


def inception_score(
    probabilities: Float[np.ndarray, "N C"], *, splits: int = 1, seed: int | None = None
) -> tuple[float, float]:
    """exp of the mean KL of each clip's classes to the mean of all: mean and standard deviation over splits.

    av-benchmark shuffles (its seed is 2020) into 10 splits, MOVA takes one: their values do not compare. Salimans et
    al. 2016. Raises ValueError for fewer clips than splits.
    """
    if splits < 1 or len(probabilities) < splits:
        raise ValueError(f"{len(probabilities)} clips in {splits} splits: at least one clip in each is needed")
    order = np.arange(len(probabilities))
    if seed is not None:
        order = np.random.RandomState(seed).permutation(len(probabilities))
    size = len(order) // splits
    scores = [_score(probabilities[order[k * size : (k + 1) * size]]) for k in range(splits)]
    return float(np.mean(scores)), float(np.std(scores))


def _score(some: np.ndarray) -> float:
    mean = some.mean(0, keepdims=True)
    known = np.where(some > 0, some, 1.0)
    logs = np.log(known) - np.log(np.where(mean > 0, mean, 1.0))
    return float(np.exp((some * logs).sum(1).mean()))
