"""Words for a scene: plain English, wordings and synonyms, Chinese."""

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
MOVES = [("moves", "moving"), ("slides", "sliding"), ("drifts", "drifting"), ("travels", "travelling"),
         ("glides", "gliding"), ("goes", "going"), ("floats", "floating")]  # fmt: skip
PLAIN = "a {colour} {shape} moves {direction} on a {background} background"
WORDINGS = [
    "a {colour} {shape} {moves} {direction} on a {background} background",
    "A {colour} {shape} {moves} {direction} across a {background} backdrop.",
    "a {colour} {shape} is {moving} {direction} over a {background} background",
    "{colour} {shape} {moving} {direction}, {background} background",
    "{background} background, {colour} {shape}, {moving} {direction}",
    "On a {background} background, a {colour} {shape} {moves} {direction}.",
    "a {shape} in {colour} {moves} {direction}; the background is {background}",
    "a video of a {colour} {shape} that {moves} {direction} in front of a {background} background",
    "the {colour} {shape} {moves} {direction}, the background is {background}",
    "{moving} {direction}: a {colour} {shape} on {background}",
]

CHINESE = {
    "red": "红色", "green": "绿色", "blue": "蓝色", "yellow": "黄色", "white": "白色",
    "magenta": "品红色", "cyan": "青色", "black": "黑色", "grey": "灰色", "navy": "深蓝色",
    "circle": "圆形", "square": "正方形", "triangle": "三角形", "cross": "十字形",
    "left": "向左", "right": "向右", "up": "向上", "down": "向下",
}  # fmt: skip
CHINESE_WORDINGS = [
    "一个{colour}的{shape}在{background}背景上{direction}移动",
    "{background}背景，一个{colour}{shape}{direction}移动",
    "在{background}的背景上，{colour}的{shape}{direction}运动。",
    "{colour}{shape}{direction}移动，背景是{background}",
]
NEGATIVE = "blurred, flickering, distorted, no shape"
"""The negative prompt of nightreel.json; in training it stands for "no prompt"."""


def plain(scene):
    """The form that README and jobs/demo.jsonl use."""
    return PLAIN.format(**_names(scene))


def wording(scene, rng):
    """The scene in one of many English wordings, with synonyms."""
    table = dict(colour=COLOURS, shape=SHAPES, direction=DIRECTIONS, background=BACKGROUNDS)
    words = {key: _pick(rng, table[key][name]) for key, name in _names(scene).items()}
    words["moves"], words["moving"] = _pick(rng, MOVES)
    return _pick(rng, WORDINGS).format(**words)


def chinese(scene, rng):
    """The scene in Chinese."""
    words = {key: CHINESE[name] for key, name in _names(scene).items()}
    return _pick(rng, CHINESE_WORDINGS).format(**words)


def caption(scene, rng, dropout=0.0):
    """A training caption: 40 % plain, 45 % reworded, 15 % Chinese; with `dropout` none at all."""
    if rng.random() < dropout:
        return "" if rng.random() < 0.5 else NEGATIVE
    kind = rng.random()
    if kind < 0.4:
        return plain(scene)
    return wording(scene, rng) if kind < 0.85 else chinese(scene, rng)


def _names(scene: world.Scene):
    return dict(colour=scene.colour, shape=scene.shape, direction=scene.direction, background=scene.background)


def _pick(rng, options):
    return options[rng.integers(len(options))]
