"""Fuzzy sets: how much an indicator's value belongs to each linguistic term."""

from pipeline.fuzzy.engine import FuzzyEngine
from pipeline.fuzzy.membership import Gaussian, Membership, Trapezoidal, Triangular, build_membership

__all__ = ["FuzzyEngine", "Gaussian", "Membership", "Trapezoidal", "Triangular", "build_membership"]
