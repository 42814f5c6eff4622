"""The library's version, which checkpoint folders and manifests record."""

__version__ = "0.1.0"
