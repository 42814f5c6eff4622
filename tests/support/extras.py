"""Packages that come with the extras. Where one is missing a test is skipped; in CI (CI=true) it fails."""

import importlib
import os

import pytest


def needed(*names):
    """Import packages of ``phonofilm[dev]``; returns the last."""
    for name in names:
        module = importlib.import_module(name) if os.environ.get("CI") == "true" else pytest.importorskip(name)
    return module
