"""A neuro-fuzzy training pipeline for market data, every step of which is a checkpoint."""
