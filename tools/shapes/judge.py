"""Reads off a clip what it shows, without knowing what was asked: things, background, speed, blur.

Legend: T frames, H height, W width.
"""

from dataclasses import dataclass

import numpy as np

import world

BORDER = 2
"""Outermost pixels, from which the background is read, and nothing else: a VAE's padding darkens the corners."""
MINIMUM_CONTRAST = 40
"""RGB distance from the background below which nothing is seen."""
MINIMUM_TRAVEL = 6
"""Pixels that a thing must have moved for a direction to be named."""
BLURRED_SOFTNESS = 0.9
"""Between the softness of rendered sharp clips (0.2 to 0.5) and that of blurred ones (1.5 to 2.4)."""


@dataclass(frozen=True)
class Seen:
    """What a clip shows: (colour, shape, direction) of each thing, sorted; "none" where none can be named."""

    things: tuple
    background: str
    speed: str
    blurred: bool


def judge(frames):
    """What uint8 frames [T, H, W, 3] show."""
    frames = np.asarray(frames, np.float32)
    border = np.concatenate([frames[:, :BORDER].reshape(-1, 3), frames[:, -BORDER:].reshape(-1, 3)])
    back = np.median(border, axis=0)
    frames = frames[:, BORDER:-BORDER, BORDER:-BORDER]
    looks = [look for part in parts(np.linalg.norm(frames - back, axis=-1)) if (look := look_at(frames, back, part))]
    travels = [travel for look in looks if (travel := _travel(look)) is not None]
    distance = float(np.mean([np.abs(travel).max() for travel in travels])) if travels else 0.0
    return Seen(
        things=tuple(sorted((look.colour, _shape(look), _direction(look)) for look in looks)),
        background=_nearest(world.BACKGROUNDS, back),
        speed=min(world.SPEEDS, key=lambda name: abs(world.SPEEDS[name] - distance)),
        blurred=bool(looks) and softness(looks) > BLURRED_SOFTNESS,
    )


def wanted(scene):
    """What `judge` should say of a scene's clip."""
    things = tuple(sorted((thing.colour, thing.shape, thing.direction) for thing in scene.things))
    return Seen(things, scene.background, scene.speed, scene.blurred)


def parts(contrast_THW):
    """Where to look for one thing each: the whole picture, or two halves between which nothing ever passes."""
    height, width = contrast_THW.shape[1:]
    touched_HW = contrast_THW.max(0) > MINIMUM_CONTRAST
    for axis, length in ((1, height), (0, width)):
        profile = touched_HW.any(axis)
        middle = [i for i in range(length // 4, 3 * length // 4) if not profile[i]]
        if middle and profile[: middle[0]].any() and profile[middle[-1] :].any():
            at = (middle[0] + middle[-1] + 1) // 2
            before, after = slice(0, at), slice(at, length)
            whole = slice(None)
            return [(before, whole), (after, whole)] if axis == 1 else [(whole, before), (whole, after)]
    return [(slice(None), slice(None))]


@dataclass(frozen=True)
class Look:
    """One thing: the name of its colour, how much of each pixel it covers, its centre in each frame (or None)."""

    colour: str
    cover_THW: np.ndarray
    centres: list


def look_at(frames, back, part):
    """The thing in a part (rows, columns) of the picture, or None."""
    frames = frames[:, part[0], part[1]]
    distance = np.linalg.norm(frames - back, axis=-1)
    strong = np.percentile(distance, 99)
    if strong < MINIMUM_CONTRAST:
        return None
    front = np.median(frames[distance > 0.8 * strong], axis=0)
    cover_THW = np.clip((frames - back) @ (front - back) / np.square(front - back).sum(), 0, 1)
    cover_THW[cover_THW < 0.2] = 0
    return Look(_nearest(world.COLOURS, front), cover_THW, [_centre(cover) for cover in cover_THW])


def softness(looks):
    """Pixels that are half covered, as a share of those that are covered: the wider the edges, the more."""
    half = sum(((look.cover_THW > 0.25) & (look.cover_THW < 0.75)).sum() for look in looks)
    return float(half / max(sum((look.cover_THW >= 0.75).sum() for look in looks), 1))


def _nearest(table, rgb):
    return min(table, key=lambda name: np.linalg.norm(np.subtract(table[name], rgb)))


def _centre(cover_HW):
    """Centre of mass (x, y) in pixels, or None in a frame that shows nothing."""
    mass = cover_HW.sum()
    if mass < 10:
        return None
    x, y = np.arange(cover_HW.shape[1]) + 0.5, np.arange(cover_HW.shape[0]) + 0.5
    return float((cover_HW.sum(0) * x).sum() / mass), float((cover_HW.sum(1) * y).sum() / mass)


def _travel(look):
    """How far the centre went, (x, y), from the first frame that shows it to the last; None if it is hardly seen."""
    seen = [centre for centre in look.centres if centre is not None]
    return np.subtract(seen[-1], seen[0]) if len(seen) > 1 else None


def _direction(look):
    travel = _travel(look)
    if travel is None or np.abs(travel).max() < MINIMUM_TRAVEL:
        return "none"
    return max(world.DIRECTIONS, key=lambda name: float(np.dot(world.DIRECTIONS[name], travel)))


def _shape(look):
    """The shape whose outline overlaps best with the thing, over every fourth frame and some sizes."""
    totals = dict.fromkeys(world.SHAPES, 0.0)
    for cover, centre in list(zip(look.cover_THW, look.centres))[::4]:
        if centre is None:
            continue
        for shape in totals:
            totals[shape] += max(_overlap(cover, centre, shape, radius) for radius in np.arange(6.5, 14, 0.75))
    return max(totals, key=totals.get) if any(totals.values()) else "none"


def _overlap(cover_HW, centre, shape, radius):
    """Intersection over union of a picture's coverage and a shape with the same centre of mass."""
    # A triangle's centre of mass lies below the origin of its drawing.
    lift = 0.3 * radius if shape == "triangle" else 0.0
    x = (np.arange(cover_HW.shape[1]) + 0.5)[None, :] - centre[0]
    y = (np.arange(cover_HW.shape[0]) + 0.5)[:, None] - centre[1] + lift
    drawn = np.clip(0.5 - world.signed_distance(shape, x, y, radius) / world.EDGE, 0, 1)
    return np.minimum(cover_HW, drawn).sum() / np.maximum(cover_HW, drawn).sum()
