"""Reads colour, shape, direction and background off a clip, without knowing what was asked.

Legend: T frames, H height, W width.
"""

import numpy as np

import world

MINIMUM_CONTRAST = 40
"""RGB distance from the background below which nothing is seen."""
MINIMUM_TRAVEL = 6
"""Pixels that the shape must have moved for a direction to be named."""


def judge(frames):
    """The scene of uint8 frames [T, H, W, 3] as a dict of four names; "none" where none can be seen."""
    frames = np.asarray(frames, np.float32)
    border = np.concatenate([frames[:, :2].reshape(-1, 3), frames[:, -2:].reshape(-1, 3)])
    back = np.median(border, axis=0)
    distance = np.linalg.norm(frames - back, axis=-1)
    strong = np.percentile(distance, 99)
    if strong < MINIMUM_CONTRAST:
        return dict(colour="none", shape="none", direction="none", background=_nearest(world.BACKGROUNDS, back))
    front = np.median(frames[distance > 0.8 * strong], axis=0)
    cover_THW = np.clip((frames - back) @ (front - back) / np.square(front - back).sum(), 0, 1)
    cover_THW[cover_THW < 0.2] = 0
    centres = [_centre(cover) for cover in cover_THW]
    return dict(
        colour=_nearest(world.COLOURS, front),
        shape=_shape(cover_THW, centres),
        direction=_direction(centres),
        background=_nearest(world.BACKGROUNDS, back),
    )


def wanted(scene):
    """What `judge` should say of a scene's clip."""
    return {key: getattr(scene, key) for key in ("colour", "shape", "direction", "background")}


def _nearest(table, rgb):
    return min(table, key=lambda name: np.linalg.norm(np.subtract(table[name], rgb)))


def _centre(cover_HW):
    """Centre of mass (x, y) in pixels, or None in a frame that shows nothing."""
    mass = cover_HW.sum()
    if mass < 10:
        return None
    axis = np.arange(len(cover_HW)) + 0.5
    return float((cover_HW.sum(0) * axis).sum() / mass), float((cover_HW.sum(1) * axis).sum() / mass)


def _direction(centres):
    """Where the centre went from the first frame that shows it to the last."""
    seen = [c for c in centres if c is not None]
    if len(seen) < 2:
        return "none"
    moved = np.subtract(seen[-1], seen[0])
    if np.abs(moved).max() < MINIMUM_TRAVEL:
        return "none"
    return max(world.DIRECTIONS, key=lambda name: float(np.dot(world.DIRECTIONS[name], moved)))


def _shape(cover_THW, centres):
    """The shape whose outline overlaps best with the clip, over every fourth frame and some sizes."""
    totals = dict.fromkeys(world.SHAPES, 0.0)
    for cover, centre in list(zip(cover_THW, centres))[::4]:
        if centre is None:
            continue
        for shape in totals:
            totals[shape] += max(_overlap(cover, centre, shape, r) for r in np.arange(6, 11, 0.5))
    return max(totals, key=totals.get) if any(totals.values()) else "none"


def _overlap(cover_HW, centre, shape, radius):
    """Intersection over union of a picture's coverage and a shape with the same centre of mass."""
    # A triangle's centre of mass lies below the origin of its drawing.
    lift = 0.3 * radius if shape == "triangle" else 0.0
    axis = np.arange(len(cover_HW)) + 0.5
    x, y = axis[None, :] - centre[0], axis[:, None] - centre[1] + lift
    drawn = np.clip(0.5 - world.signed_distance(shape, x, y, radius), 0, 1)
    return np.minimum(cover_HW, drawn).sum() / np.maximum(cover_HW, drawn).sum()
