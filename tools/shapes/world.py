"""The world that models/shapes knows: one coloured shape that moves across a plain background.

A `Scene` says what is drawn, `render` draws it as a clip, and `captions.py` puts it into words.
Everything is drawn from a `numpy.random.Generator`, so a seed fixes the data.
"""

from dataclasses import dataclass

import numpy as np

SIZE = 48
"""Height and width of a clip in pixels."""
FRAMES = 17
"""Frames of a clip: 4n+1, as the causal VAE wants."""

COLOURS = {
    "red": (230, 30, 30),
    "green": (30, 190, 50),
    "blue": (40, 80, 250),
    "yellow": (250, 220, 30),
    "white": (250, 250, 250),
    "magenta": (230, 40, 210),
    "cyan": (40, 220, 230),
}
BACKGROUNDS = {
    "black": (8, 8, 8),
    "white": (245, 245, 245),
    "grey": (128, 128, 128),
    "navy": (10, 15, 80),
}
SHAPES = ("circle", "square", "triangle", "cross")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
"""Unit steps in image coordinates: x to the right, y downwards."""


@dataclass(frozen=True)
class Scene:
    """What a clip shows. Lengths are pixels; `x`, `y` is the shape's centre in the middle frame."""

    colour: str
    shape: str
    direction: str
    background: str
    x: float = SIZE / 2
    y: float = SIZE / 2
    radius: float = 8.0
    travel: float = 23.0


def combinations():
    """All (colour, shape, direction, background) that can be told apart, in a fixed order."""
    return [
        (colour, shape, direction, background)
        for colour in COLOURS
        for shape in SHAPES
        for direction in DIRECTIONS
        for background in BACKGROUNDS
        if colour != background
    ]


def random_scene(rng, combination=None, spread=1.0):
    """A scene of the given combination (default: any) with random place, size and speed.

    `spread` scales how far these stray from the middle: 0 gives the same clip each time.
    """
    if combination is None:
        every = combinations()
        combination = every[rng.integers(len(every))]
    along, across, size, speed = spread * rng.uniform(-1, 1, 4)
    horizontal = DIRECTIONS[combination[2]][0] != 0
    dx, dy = (3 * along, 7 * across) if horizontal else (7 * across, 3 * along)
    return Scene(*combination, x=SIZE / 2 + dx, y=SIZE / 2 + dy, radius=8 + size, travel=23 + 3 * speed)


def signed_distance(shape, x, y, radius):
    """Distance in pixels from the outline (negative inside) of `shape` centred at the origin.

    Sizes are chosen so that the four shapes of one radius look equally large.
    """
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.88 * radius
    if shape == "triangle":
        slanted = (2 * np.abs(x) - y) / np.sqrt(5) - 0.5 * radius
        return np.maximum(slanted, y - 0.95 * radius)
    if shape == "cross":
        long, thick = 1.05 * radius, 0.36 * radius
        upright = np.maximum(np.abs(x) - thick, np.abs(y) - long)
        flat = np.maximum(np.abs(x) - long, np.abs(y) - thick)
        return np.minimum(upright, flat)
    raise ValueError(f"unknown shape {shape!r}")


def coverage(scene, frames=FRAMES, size=SIZE):
    """How much of each pixel the shape covers, float32 [frames, size, size] in 0..1."""
    step_x, step_y = DIRECTIONS[scene.direction]
    offset = scene.travel * (np.arange(frames) / max(frames - 1, 1) - 0.5)
    axis = np.arange(size) + 0.5
    x = axis[None, None, :] - (scene.x + step_x * offset)[:, None, None]
    y = axis[None, :, None] - (scene.y + step_y * offset)[:, None, None]
    return np.clip(0.5 - signed_distance(scene.shape, x, y, scene.radius), 0, 1).astype(np.float32)


def render(scene, frames=FRAMES, size=SIZE):
    """The clip of a scene, float32 [3, frames, size, size] in -1..1, edges anti-aliased."""
    mask = coverage(scene, frames, size)[None]
    front, back = (
        np.asarray(table[name], np.float32)[:, None, None, None] / 127.5 - 1
        for table, name in ((COLOURS, scene.colour), (BACKGROUNDS, scene.background))
    )
    return back + (front - back) * mask
