"""The world that models/shapes knows: one or two coloured shapes that move across a plain background.

A `Scene` says what is drawn, `render` draws it as a clip, and `captions.py` puts it into words.
Everything is drawn from a `numpy.random.Generator`, so a seed fixes the data.
"""

from dataclasses import dataclass

import numpy as np

SIZE = 64
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
SPEEDS = {"slow": 12.0, "medium": 22.0, "fast": 34.0}
"""Pixels travelled from the first frame to the last; medium is what words without a speed mean."""
EDGE, BLURRED_EDGE = 2.0, 12.0
"""Width in pixels of the ramp between shape and background, in sharp and in blurred clips."""
PAIR_SHARE, BLURRED_SHARE, MEDIUM_SHARE = 0.25, 0.1, 0.5


@dataclass(frozen=True)
class Thing:
    """One shape. Lengths are pixels; `x`, `y` is its centre in the middle frame."""

    colour: str
    shape: str
    direction: str
    x: float = SIZE / 2
    y: float = SIZE / 2
    radius: float = 11.0


@dataclass(frozen=True)
class Scene:
    """What a clip shows: one thing, or two that pass each other in lanes of their own, the upper or left one first."""

    background: str
    things: tuple
    speed: str = "medium"
    travel: float = SPEEDS["medium"]
    blurred: bool = False

    def combinations(self):
        """(colour, shape, direction, background) of each thing."""
        return [(thing.colour, thing.shape, thing.direction, self.background) for thing in self.things]


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


def held_out():
    """The 100 combinations that training never sees, in the order in which they are asked for."""
    every = combinations()
    return [every[i] for i in np.random.default_rng(2026).permutation(len(every))[:100]]


def trained():
    """All other combinations."""
    kept = set(held_out())
    return [combination for combination in combinations() if combination not in kept]


def single(rng, combination, speed="medium", blurred=False):
    """A scene of one thing with random place and size."""
    colour, shape, direction, background = combination
    along, across, size, haste = rng.uniform(-1, 1, 4)
    horizontal = DIRECTIONS[direction][0] != 0
    dx, dy = (2 * along, 8 * across) if horizontal else (8 * across, 2 * along)
    thing = Thing(colour, shape, direction, SIZE / 2 + dx, SIZE / 2 + dy, 11 + 1.2 * size)
    return Scene(background, (thing,), speed, SPEEDS[speed] + 1.5 * haste, blurred)


def pair(rng, first, second, speed="medium"):
    """A scene of two things that share a background and an axis of motion, the first in the upper or left lane."""
    horizontal = DIRECTIONS[first[2]][0] != 0
    lanes = np.array([-15.0, 15.0]) + rng.uniform(-2, 2, 2)
    things = []
    for (colour, shape, direction, _), lane in zip((first, second), lanes):
        along, size = rng.uniform(-1, 1, 2)
        dx, dy = (3 * along, lane) if horizontal else (lane, 3 * along)
        things.append(Thing(colour, shape, direction, SIZE / 2 + dx, SIZE / 2 + dy, 8.5 + 0.6 * size))
    return Scene(first[3], tuple(things), speed, SPEEDS[speed] + 1.5 * rng.uniform(-1, 1))


def partners(first, every):
    """The combinations of `every` that can move beside `first` and be told from it."""
    along = [abs(step) for step in DIRECTIONS[first[2]]]
    return [
        other
        for other in every
        if other[3] == first[3] and other[:2] != first[:2] and [abs(s) for s in DIRECTIONS[other[2]]] == along
    ]


def random_speed(rng):
    """Half of all scenes move at medium speed."""
    return "medium" if rng.random() < MEDIUM_SHARE else ("slow", "fast")[rng.integers(2)]


def random_scene(rng, every, first=None):
    """A scene of combinations of the list `every`; `first` fixes that of the (first) thing."""
    first = first or every[rng.integers(len(every))]
    speed = random_speed(rng)
    if rng.random() < PAIR_SHARE:
        others = partners(first, every)
        both = [first, others[rng.integers(len(others))]]
        return pair(rng, *(both if rng.random() < 0.5 else both[::-1]), speed)
    return single(rng, first, speed, blurred=rng.random() < BLURRED_SHARE / (1 - PAIR_SHARE))


def signed_distance(shape, x, y, radius):
    """Distance in pixels from the outline (negative inside) of `shape` centred at the origin.

    Sizes are chosen so that the four shapes of one radius look equally large.
    """
    if shape == "circle":
        return np.hypot(x, y) - radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.9 * radius
    if shape == "triangle":
        slanted = (2 * np.abs(x) - y) / np.sqrt(5) - 0.5 * radius
        return np.maximum(slanted, y - 0.95 * radius)
    if shape == "cross":
        long, thick = 1.05 * radius, 0.36 * radius
        upright = np.maximum(np.abs(x) - thick, np.abs(y) - long)
        flat = np.maximum(np.abs(x) - long, np.abs(y) - thick)
        return np.minimum(upright, flat)
    raise ValueError(f"unknown shape {shape!r}")


def coverage(thing, travel, edge, at, size=SIZE):
    """How much of each pixel the thing covers, float32 [len(at), size, size] in 0..1.

    `at` are moments of the clip, 0 the first frame and 1 the last.
    """
    step_x, step_y = DIRECTIONS[thing.direction]
    offset = travel * (np.asarray(at) - 0.5)
    axis = np.arange(size) + 0.5
    x = axis[None, None, :] - (thing.x + step_x * offset)[:, None, None]
    y = axis[None, :, None] - (thing.y + step_y * offset)[:, None, None]
    return np.clip(0.5 - signed_distance(thing.shape, x, y, thing.radius) / edge, 0, 1).astype(np.float32)


def rgb(table, name):
    """A colour of a table as float32 [3, 1, 1, 1] in -1..1."""
    return np.asarray(table[name], np.float32)[:, None, None, None] / 127.5 - 1


def render(scene, frames=FRAMES, size=SIZE):
    """The clip of a scene, float32 [3, frames, size, size] in -1..1, edges soft."""
    at = np.arange(frames) / max(FRAMES - 1, 1)
    edge = BLURRED_EDGE if scene.blurred else EDGE
    clip = np.broadcast_to(rgb(BACKGROUNDS, scene.background), (3, frames, size, size))
    for thing in scene.things:
        mask = coverage(thing, scene.travel, edge, at, size)[None]
        clip = clip + (rgb(COLOURS, thing.colour) - clip) * mask
    return clip.astype(np.float32)
