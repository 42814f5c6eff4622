"""What puppets and props look like, in the words that scenes use.

Every table is closed: captions name its entries, the drawing has one colour or shape for each, and evaluation
reads them back from pixels.
"""

from __future__ import annotations

from typing import NamedTuple

PERSONS = ("woman", "man")
SKINS = ("pale", "tan", "dark")
HAIRS = ("black", "brown", "blonde", "red", "grey", "blue")
CUTS = ("short", "long", "curly")
BACKGROUNDS = ("blue", "green", "yellow", "purple", "grey", "white")
EYES = ("brown", "blue", "green")
CLOTHES = ("red", "green", "blue", "orange", "black", "white")
BALLS = ("red", "blue", "yellow", "white", "black", "orange")
FLOORS = ("green", "grey", "brown", "blue")
STRENGTHS = ("light", "heavy")
NUM_KEYS = 8
"""Keys of the light-up keyboard, low to high from left to right."""


class Look(NamedTuple):
    """One puppet, in words from the tables of this file."""

    person: str
    skin: str
    hair: str
    cut: str
    glasses: bool
    beard: bool
    """Only men wear beards; a beard has the colour of the hair."""
    eyes: str
    clothing: str
    background: str


class Scenery(NamedTuple):
    """What surrounds or replaces the puppets, in words; "" where a stage has no such thing."""

    background: str
    colour: str = ""
    """Of the ball."""
    floor: str = ""
    strength: str = ""
    """Of the rain: light or heavy."""


class Ball(NamedTuple):
    """How a ball bounces; lengths are in heights of the picture, times in seconds."""

    x: float
    """Middle of the ball from the left edge at second 0, in widths of the picture."""
    drift: float
    """Widths of the picture per second, to the right."""
    first: float
    """The first contact with the floor."""
    interval: float
    """From the first contact to the second."""
    restitution: float
    """Each interval is this share of the one before."""
    gravity: float
    """Heights of the picture per second squared: the apex over an interval d is gravity * d * d / 8."""
