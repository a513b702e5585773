"""Norms of linear maps known by their products: what is estimated, with the evidence for it.

``spectral`` brackets the largest singular value; ``two_to_infinity`` and ``one_to_two`` find the
largest row and column; ``frobenius`` estimates the root of the sum of squares. ``power`` and
``block_power`` are the classical routes to the first, ``block_power`` with any calibration of
``hyperrank.calibration``. ``one_infinity``, ``gram_row_sum`` and ``gelfand`` bound the spectral
norm of dense matrices without chance.

The Counterbalance estimator of the spectral norm (Naumov et al., arXiv:2506.15660) is left out: no
text with its formula was at hand. It would be one more ``Calibration``.
"""

from __future__ import annotations

from hyperrank.calibration import Calibration, chi_square, half_normal, halko, lanczos_factor
from hyperrank.entry_norms import FrobeniusNorm, frobenius, gelfand, gram_row_sum, one_infinity
from hyperrank.row_norms import Method, RowNorm, one_to_two, two_to_infinity
from hyperrank.spectral_norms import SpectralNorm, block_power, power, spectral

__all__ = [
    "Calibration",
    "FrobeniusNorm",
    "Method",
    "RowNorm",
    "SpectralNorm",
    "block_power",
    "chi_square",
    "frobenius",
    "gelfand",
    "gram_row_sum",
    "half_normal",
    "halko",
    "lanczos_factor",
    "one_infinity",
    "one_to_two",
    "power",
    "spectral",
    "two_to_infinity",
]
