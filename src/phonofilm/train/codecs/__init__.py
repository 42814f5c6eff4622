"""Training of the pocket codecs."""
