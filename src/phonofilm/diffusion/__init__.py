"""Tokens, the path to noise, tasks, losses, guidance and samplers."""
