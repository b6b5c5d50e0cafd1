"""Words for a scene: plain English, wordings and synonyms, Chinese; whole, or only some of what is seen.

Of two things the upper or left one is told first: which of two places a thing has would otherwise be a coin's toss that
all parts of a picture would have to agree on.
"""

import re
from dataclasses import dataclass

import world

COLOURS = {
    "red": ["red", "crimson", "scarlet"],
    "green": ["green", "emerald"],
    "blue": ["blue", "bright blue"],
    "yellow": ["yellow", "golden"],
    "white": ["white"],
    "magenta": ["magenta", "pink"],
    "cyan": ["cyan", "turquoise"],
}
SHAPES = {
    "circle": ["circle", "disc", "ball", "dot"],
    "square": ["square", "box"],
    "triangle": ["triangle"],
    "cross": ["cross", "plus sign"],
}
DIRECTIONS = {
    "left": ["left", "to the left", "leftwards", "from right to left"],
    "right": ["right", "to the right", "rightwards", "from left to right"],
    "up": ["up", "upwards", "to the top", "from bottom to top"],
    "down": ["down", "downwards", "to the bottom", "from top to bottom"],
}
BACKGROUNDS = {
    "black": ["black"],
    "white": ["white"],
    "grey": ["grey", "gray"],
    "navy": ["navy", "navy blue", "dark blue"],
}
SPEEDS = {"slow": ["slowly"], "fast": ["fast", "quickly", "rapidly"], "medium": [""]}
TABLES = dict(colour=COLOURS, shape=SHAPES, direction=DIRECTIONS, background=BACKGROUNDS, speed=SPEEDS)
MOVES = [("moves", "moving"), ("slides", "sliding"), ("drifts", "drifting"), ("travels", "travelling"),
         ("glides", "gliding"), ("goes", "going"), ("floats", "floating")]  # fmt: skip
THINGS = ["a {colour} {shape}", "a {shape} in {colour}", "the {colour} {shape}", "{colour} {shape}"]
MOTIONS = ["{verb} {speed} {direction}", "{verb} {direction} {speed}", "{speed} {verb} {direction}"]
WORDINGS = [
    "{scene_moves} on a {background} background",
    "{scene_moves} across a {background} backdrop",
    "{scene_moving} over a {background} background",
    "{scene_moving}, {background} background",
    "{background} background, {scene_moving}",
    "on a {background} background, {scene_moves}",
    "{scene_moves}; the background is {background}",
    "{scene_moves}, the background is {background}",
    "a video of {scene_moving} in front of a {background} background",
    "{scene_moving} on {background}",
]
TURNED = "{moving}: {thing} on {background}"
JOINTS = [" and ", ", ", ", while ", " and "]
BLURRED = ["blurry, {}", "{}, blurred", "a blurry video: {}", "{}, blurry"]

CHINESE = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "white": "白色",
    "magenta": "品红色", "cyan": "青色", "black": "黑色", "grey": "灰色", "navy": "深蓝色",
    "circle": "圆形", "square": "正方形", "triangle": "三角形", "cross": "十字形",
    "left": "向左", "right": "向右", "up": "向上", "down": "向下",
    "slow": "缓慢", "fast": "快速", "medium": "", "blurred": "模糊",
}  # fmt: skip
CHINESE_THING = ["一个{colour}的{shape}", "{colour}的{shape}", "{colour}{shape}"]
CHINESE_ONE = [
    "{thing}在{background}背景上{motion}移动",
    "{background}背景，{thing}{motion}移动",
    "在{background}的背景上，{thing}{motion}运动。",
    "{thing}{motion}移动，背景是{background}",
]
CHINESE_TWO = ["{first}，{second}，背景是{background}", "{background}背景，{first}，{second}"]
NEGATIVE = "blurry, distorted, flickering"
"""The negative prompt of nightreel.json; training shows blurred clips with it."""


@dataclass(frozen=True)
class Mentioned:
    """What the words of a caption say: for each thing in their order its colour, shape and direction."""

    things: tuple
    background: str = "none"
    speed: str = "none"
    blurred: bool = False


def plain(scene):
    """The form that README and jobs/demo.jsonl use."""
    speed = SPEEDS[scene.speed][-1]
    clauses = [f"a {t.colour} {t.shape} moves {t.direction} {speed}".rstrip() for t in scene.things]
    text = f"{' and '.join(clauses)} on a {scene.background} background"
    return f"blurry, {text}" if scene.blurred else text


def caption(scene, rng):
    """A training caption and what it mentions: 40 % plain, 45 % reworded, 15 % Chinese; some of one thing leave things out."""
    if not scene.blurred and len(scene.things) == 1 and rng.random() < 0.15:
        return _partial(scene, rng)
    if scene.blurred and rng.random() < 0.5:
        return NEGATIVE, Mentioned((), blurred=True)
    kind = rng.random()
    text = plain(scene) if kind < 0.4 else (wording if kind < 0.85 else chinese)(scene, rng)
    told = tuple((thing.colour, thing.shape, thing.direction) for thing in scene.things)
    return text, Mentioned(told, scene.background, scene.speed, scene.blurred)


def wording(scene, rng):
    """The scene in one of many English wordings, with synonyms."""
    things = scene.things
    verbs = dict(zip(("moves", "moving"), _pick(rng, MOVES)))
    speed, background = _synonym(rng, "speed", scene.speed), _synonym(rng, "background", scene.background)
    motion, joint = _pick(rng, MOTIONS), _pick(rng, JOINTS)

    def clause(thing, verb):
        return f"{_thing(thing, rng)} {_motion(thing, motion, verbs[verb], speed, rng)}"

    together = len(things) == 2 and things[0].direction == things[1].direction and rng.random() < 0.6
    scenes = {}
    for verb in verbs:
        if together:
            plural = "move" if verb == "moves" else verb
            names = " and ".join(_thing(thing, rng) for thing in things)
            scenes[f"scene_{verb}"] = f"{names} {_motion(things[0], motion, plural, speed, rng)}"
        else:
            scenes[f"scene_{verb}"] = joint.join(clause(thing, verb) for thing in things)
    if len(things) == 1 and rng.random() < 0.1:
        moving = _motion(things[0], motion, verbs["moving"], speed, rng)
        text = TURNED.format(moving=moving, thing=_thing(things[0], rng), background=background)
    else:
        text = _pick(rng, WORDINGS).format(background=background, **scenes)
    if scene.blurred:
        text = _pick(rng, BLURRED).format(text)
    return _finish(text, rng)


def _partial(scene, rng):
    """Only some of what a scene of one thing shows; nothing at all in one of sixteen."""
    (thing,) = scene.things
    keep = {key: rng.random() < 0.5 for key in ("colour", "shape", "direction", "background")}
    colour = thing.colour if keep["colour"] else "none"
    shape = thing.shape if keep["shape"] else "none"
    direction = thing.direction if keep["direction"] else "none"
    background = scene.background if keep["background"] else "none"
    if not any(keep.values()):
        return "", Mentioned(())
    noun = _synonym(rng, "shape", shape) if shape != "none" else "shape"
    adjective = _synonym(rng, "colour", colour) + " " if colour != "none" else ""
    parts = [f"a {adjective}{noun}"]
    if colour != "none" and shape == "none" and not keep["direction"] and rng.random() < 0.5:
        parts = [adjective.strip()]
    if keep["direction"]:
        parts.append(f"{_pick(rng, MOVES)[rng.integers(2)]} {_synonym(rng, 'direction', direction)}")
    if keep["background"]:
        parts.append(f"on a {_synonym(rng, 'background', background)} background")
    told = () if (colour, shape, direction) == ("none",) * 3 else ((colour, shape, direction),)
    return _finish(" ".join(parts), rng), Mentioned(told, background)


def chinese(scene, rng):
    """The scene in Chinese."""
    things = scene.things
    background = CHINESE[scene.background]
    speed = CHINESE[scene.speed]
    names = [_pick(rng, CHINESE_THING).format(colour=CHINESE[t.colour], shape=CHINESE[t.shape]) for t in things]
    motions = [speed + CHINESE[thing.direction] for thing in things]
    if len(things) == 1:
        text = _pick(rng, CHINESE_ONE).format(thing=names[0], motion=motions[0], background=background)
    else:
        first, second = (f"{name}{motion}移动" for name, motion in zip(names, motions))
        text = _pick(rng, CHINESE_TWO).format(first=first, second=second, background=background)
    return f"{CHINESE['blurred']}，{text}" if scene.blurred else text


def _thing(thing, rng):
    words = dict(colour=_synonym(rng, "colour", thing.colour), shape=_synonym(rng, "shape", thing.shape))
    return _pick(rng, THINGS).format(**words)


def _motion(thing, form, verb, speed, rng):
    direction = _synonym(rng, "direction", thing.direction)
    return " ".join(form.format(verb=verb, speed=speed, direction=direction).split())


def _finish(text, rng):
    """Sometimes a sentence: capital letter and full stop."""
    text = re.sub(" +", " ", text).strip()
    if rng.random() < 0.3:
        text = text[:1].upper() + text[1:]
    return text + "." if rng.random() < 0.3 else text


def _synonym(rng, table, name):
    return _pick(rng, TABLES[table][name])


def _pick(rng, options):
    return options[rng.integers(len(options))]
