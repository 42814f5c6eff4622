"""Frechet distances between sets of embeddings, and what Verse-Bench computes under that name."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

EPS = 1e-6
PER_DIMENSION = 10
"""Clips per dimension below which a Frechet distance is not worth quoting: its bias falls with 1 / N."""


def frechet(left: Float[np.ndarray, "N D"], right: Float[np.ndarray, "M D"], *, eps: float = EPS) -> float:
    """Frechet distance of two Gaussians fitted to embeddings: |m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)).

    ``eps`` is added to the diagonals, so that few clips give a number at all. Heusel et al. 2017, equation 6. Raises
    ValueError for fewer than 2 vectors on either side.
    """
    for vectors in (left, right):
        if vectors.ndim != 2 or len(vectors) < 2:
            raise ValueError(f"got shape {vectors.shape}: a covariance needs (clips, dimensions) with at least 2 clips")
    one, two = (_moments(np.asarray(v, dtype=np.float64), eps) for v in (left, right))
    return gaussian_frechet(*one, *two)


def _moments(vectors: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    covariance = np.atleast_2d(np.cov(vectors, rowvar=False))
    return vectors.mean(0), covariance + eps * np.eye(len(covariance))


def gaussian_frechet(
    mean1: Float[np.ndarray, " D"],
    cov1: Float[np.ndarray, "D D"],
    mean2: Float[np.ndarray, " D"],
    cov2: Float[np.ndarray, "D D"],
) -> float:
    """Frechet distance of two Gaussians by their moments.

    Tr (C1 C2)^(1/2) is the sum of the square roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric: no
    square root of a matrix that is not, and no imaginary part to throw away.
    """
    values, vectors = np.linalg.eigh(cov1)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov2 @ root).clip(min=0)).sum()
    return float(((mean1 - mean2) ** 2).sum() + np.trace(cov1) + np.trace(cov2) - 2 * cross)


def verse_bench_fd(generated: Float[np.ndarray, "N D"], reference: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """What Verse-Bench prints as FD, clip by clip: 2 (1 - cosine) of CLAP vectors, in [0, 4].

    Its covariance of a single vector is a scalar in the NumPy it pins, so that all but the means cancels: no distance
    of distributions. We report it as ``paper.vb_fd_2m2cos``.
    """
    return 2 * (1 - cosines(generated, reference))


def cosines(left: Float[np.ndarray, "N D"], right: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " N"]:
    """Cosine of each pair: CLAP score (audio and text), speaker similarity (x 100 in Seed-TTS-eval's tables), IB-score.

    Raises ValueError for a vector of zeros.
    """
    lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    if not (lengths > 0).all():
        raise ValueError("a vector of zeros has no direction: leave such clips out and say so")
    return (left * right).sum(1) / lengths
