"""Checkpoint folders and the import of published weights."""
