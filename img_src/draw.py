"""Draws the structure of models as img_src/<Model>.svg:    python img_src/draw.py [GAN ...]

Layers and shapes are read from the networks that the model's `build()` returns, by running them once. How they are
wired, and the losses, is a short function in the model's own folder, in figures.py: `diagram(parts, nets)` returns a
Diagram of the networks `nets`, made of `parts`, which are the PARTS of this file. A model without it has no diagram."""

import math
import sys
from collections import namedtuple
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import torch
import tyro
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Polygon
from torch import nn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from common.models import load_file  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc.places import find_folder  # noqa: E402

STYLE = {"svg.fonttype": "path", "svg.hashsalt": "img_src", "font.family": "DejaVu Sans", "mathtext.fontset": "cm"}
INK, NETWORKS = "#222222", ("#3a6fb0", "#cf6a1f", "#3f8a57", "#8059a0")
# Widths in px: the outer margin, a stage, a variable, the arrow between two columns. With five stages they sum to 800.
MARGIN, STAGE, VARIABLE, ARROW = 26, 108, 78, 26
NAMES = {"Conv2d": "Conv", "ConvTranspose2d": "ConvT", "BatchNorm1d": "BN", "BatchNorm2d": "BN", "InstanceNorm2d": "IN",
         "LayerNorm": "LN", "MaxPool2d": "MaxPool", "AvgPool2d": "AvgPool"}
LEGEND = {"ConvT": "transposed convolution", "/2": "stride 2", "BN": "batch normalisation",
          "IN": "instance normalisation", "LN": "layer normalisation"}
Anchor = namedtuple("Anchor", "node x y vertical")  # an end of an arrow, and whether it is vertical there


def shape_text(shape):
    """(64, 16, 16) -> 64×16×16"""
    return "×".join(map(str, shape))


def stages(network, *inputs):
    """Runs a network in eval mode. Returns its output and its stages in the order of the run: each convolution or
    linear layer starts one, which has `layers` (texts: this layer and those after it), `shape` (of its output, without
    N) and `heads` (how many such layers take the very same input: 2 for a mean and a variance side by side)."""
    found, flatten, source = [], [], None

    def ran(layer, args, out):
        nonlocal flatten, source
        text = NAMES.get(type(layer).__name__, type(layer).__name__)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if not isinstance(layer, nn.Linear):
                text += f" {shape_text(layer.kernel_size)}" + f" /{layer.stride[0]}" * (layer.stride[0] > 1)
            if args[0] is source:
                found[-1].heads += 1
            else:
                found.append(SimpleNamespace(layers=[*flatten, text], shape=out.shape[1:], heads=1))
            flatten, source = [], args[0]
        elif text == "Flatten":
            flatten = [text]  # shown with the layer that follows
        elif found and text not in ("AtLeastFloat32", "Identity"):
            found[-1].layers += [text] * (text != "Unflatten")  # the shape says it
            found[-1].shape = out.shape[1:]

    hooks = [layer.register_forward_hook(ran) for layer in network.modules() if not list(layer.children())]
    with torch.no_grad():
        output = network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    if flatten:  # no layer followed
        found[-1].layers, found[-1].shape = found[-1].layers + flatten, output.shape[1:]
    return output, found


class Node:
    """A box with lines of (text, size). Once its row is drawn it has x0, x1, y0, y1, and cy, the height of its data;
    `row` holds the upper and lower end of the whole row."""

    def __init__(self, *lines, face="#f4f4f4", edge="#777777", width=None):
        self.name, self.lines, self.face, self.edge, self.width = lines[0][0], lines, face, edge, width

    def at(self, side, where=None):
        """The anchor on side "left", "right", "top" or "bottom": at its middle, or at the y (or x) that is given."""
        if side in ("top", "bottom"):
            x = (self.x0 + self.x1) / 2 if where is None else where
            return Anchor(self, x, self.y0 if side == "top" else self.y1, True)
        return Anchor(self, self.x0 if side == "left" else self.x1, self.cy if where is None else where, False)


class Net(Node):
    """A network, run on inputs; `output` is what it returned."""

    def __init__(self, name, network, *inputs):
        self.output, self.stages = stages(network, *inputs)
        super().__init__((name, 15.5), width=STAGE * len(self.stages))


def variable(symbol, tensor=None, note=""):
    """A variable: its symbol, a note, and the shape of its tensor (N, ...) without N."""
    notes = [(note, 15 if note[0] == "$" else 13)] if note else []
    notes += [(shape_text(tensor.shape[1:]), 13)] if tensor is not None else []
    return Node((symbol, 20 if "$" in symbol else 14.5), *notes, width=VARIABLE)


def loss(name, formula):
    """What is optimised: by whom, and the formula. As wide as the row leaves free."""
    return Node((name, 13.5), (formula, 18.5), face="#fdf5da", edge="#b8941f")


class Diagram:
    """A drawing that grows downwards, row by row. `content`: all that it says, as lines of text, whatever the fonts.
    `outside`: where an arrow turns that leads along the right and the upper margin, around everything."""

    def __init__(self, columns=5):
        """columns: the number of stages in the widest row."""
        self.figure = Figure(facecolor="white", dpi=72)
        self.axes = self.figure.add_axes((0, 0, 1, 1), frame_on=False, xticks=(), yticks=())
        self.width, self.y = 2 * (MARGIN + VARIABLE + ARROW) + columns * STAGE, MARGIN + 2
        self.outside = self.width - MARGIN / 2, MARGIN / 2
        self.content, self.colours = [], cycle(NETWORKS)

    def row(self, *items, joined=True):
        """Draws items from left to right, joined by arrows. The items of a tuple stand in one column."""
        columns = [item if isinstance(item, tuple) else (item,) for item in items]
        layers = [len(s.layers) for column in columns for net in column if isinstance(net, Net) for s in net.stages]
        above, below = (88, 90 + 16 * max(layers)) if layers else (32, 32)
        widths = [column[0].width for column in columns]
        free = self.width - 2 * MARGIN - ARROW * (len(widths) - 1) - sum(width or 0 for width in widths)
        x, cy = MARGIN, self.y + above
        for column, width in zip(columns, widths, strict=True):
            for i, node in enumerate(column):
                node.x0, node.x1 = x, x + (width or free / widths.count(None))
                node.row, node.cy = (cy - above, cy + below), cy + 80 * (i - (len(column) - 1) / 2)
                half = 7 + 0.68 * sum(size for _, size in node.lines)
                if isinstance(node, Net):
                    node.y0, node.y1 = cy - above, cy + below
                    self.draw_net(node)
                else:
                    node.y0, node.y1 = node.cy - half, node.cy + half
                    self.draw_box(node)
            x = node.x1 + ARROW
        for before, after in pairwise(columns if joined else ()):
            for a, b in ((a, b) for a in before for b in after):
                self.arrow(a.at("right", b.cy if isinstance(a, Net) else None),
                           b.at("left", a.cy if isinstance(b, Net) else None))
        self.y = cy + below + 46

    def text(self, x, y, text, size, **style):
        """Writes text centred at x, with its baseline at y."""
        self.axes.text(x, y, text, **{"size": size, "ha": "center", "va": "baseline", "color": INK, **style})
        self.content.append(text)

    def draw_box(self, node):
        self.axes.add_patch(FancyBboxPatch((node.x0, node.y0), node.x1 - node.x0, node.y1 - node.y0, fc=node.face,
                                           ec=node.edge, lw=1.2, boxstyle="round,pad=0,rounding_size=6"))
        y = node.y0 + 5
        for text, size in () if isinstance(node, Net) else node.lines:
            y += 1.36 * size
            self.text((node.x0 + node.x1) / 2, y - 0.12 * size, text, size)

    def draw_net(self, net):
        """Each stage is its output as a block: height by the map's size, width by the channels, both by their roots."""
        net.edge = next(self.colours)
        net.face = tint(net.edge, 0.07)
        self.draw_box(net)
        self.text(net.x0 + 12, net.y0 + 24, *net.lines[0], ha="left", color=net.edge)
        tip = 0  # of the block before
        for i, stage in enumerate(net.stages):
            centre, shape = net.x0 + (i + 0.5) * STAGE, stage.shape
            channels, size = shape[:2] if len(shape) == 3 else (1, min(shape[0] / 3, 32))
            w, h = 3 + 0.8 * math.sqrt(channels), min(42, 7 * math.sqrt(size))
            d = 0.4 * h if len(shape) == 3 else 3
            x, y = centre - d / 2, net.cy + d / 2
            faces = {0.65: ((x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)),
                     0.4: ((x - w, y - h), (x - w + d, y - h - d), (x + w + d, y - h - d), (x + w, y - h)),
                     0.9: ((x + w, y - h), (x + w + d, y - h - d), (x + w + d, y + h - d), (x + w, y + h))}
            for part, corners in faces.items():
                self.axes.add_patch(Polygon(corners, fc=tint(net.edge, part), ec="white", lw=0.8, joinstyle="round"))
            if i:
                self.line([(tip + 5, net.cy), (x - w - 5, net.cy)], net.edge, head=6)
            tip = x + w + d
            heads = f"{stage.heads} × " * (stage.heads > 1)
            self.text(centre, net.cy + 74, heads + shape_text(shape), 14.5, weight="bold")
            for j, layer in enumerate(stage.layers):
                self.text(centre, net.cy + 93 + 16 * j, layer, 13)

    def line(self, points, colour, head=10, dashed=False):
        """A line through points with an arrow head, of this length, whose tip is the last point."""
        (x0, y0), (x, y) = points[-2:]
        length = math.hypot(x - x0, y - y0)
        dx, dy = head * (x - x0) / length, head * (y - y0) / length
        xs, ys = zip(*points[:-1], (x - dx, y - dy), strict=True)
        self.axes.plot(xs, ys, color=colour, lw=1.4, ls=(0, (4, 2.5)) if dashed else "-", solid_joinstyle="round")
        corners = (x, y), (x - dx + 0.45 * dy, y - dy - 0.45 * dx), (x - dx - 0.45 * dy, y - dy + 0.45 * dx)
        self.axes.add_patch(Polygon(corners, fc=colour, ec="none", zorder=3))

    def arrow(self, start, end, *via, update=False, label=""):
        """Draws an arrow in right angles from anchor to anchor: data, or (update) whose weights a loss updates.

        Args:
            via: where it turns, in the order of the turns: a y after a vertical piece, an x after a horizontal one; by
                default in the gap before its end.
            label: written above the longest horizontal piece."""
        points, vertical = [(start.x, start.y)], start.vertical
        if not via and vertical == end.vertical:
            upper, lower = end.node.row
            beside = upper - 23 if end.y > start.y else lower + 23  # half-way between two rows
            via = (beside if vertical else end.x - math.copysign(ARROW / 2, end.x - start.x),)
        for value in (*via, end.y if (vertical + len(via)) % 2 else end.x):
            points.append((points[-1][0], value) if vertical else (value, points[-1][1]))
            vertical = not vertical
        points = [p for p, q in pairwise([*points, (end.x, end.y)]) if p != q] + [(end.x, end.y)]
        self.line(points, end.node.edge if update else INK, dashed=update)
        self.content.append(f"{start.node.name} {'updates' if update else 'to'} {end.node.name}")
        if label:
            (x0, y), (x1, _) = max(pairwise(points), key=lambda piece: abs(piece[0][0] - piece[1][0]))
            self.text((x0 + x1) / 2, y - 6, label, 13)

    def save(self, path, title):
        """Writes the drawing and its legend as SVG, whose metadata hold title and content, the same bytes each time."""
        y, words = self.y - 6, {word for line in self.content for word in line.split()}
        for x, text, dashed in ((MARGIN, "data", False), (MARGIN + 96, "update by a loss", True)):
            self.line([(x, y - 4), (x + 36, y - 4)], INK, dashed=dashed)
            self.text(x + 43, y, text, 12.5, ha="left")
        legend = "     ".join(f"{word}: {text}" for word, text in LEGEND.items() if word in words)
        self.text(self.width - MARGIN, y, legend, 12.5, ha="right")
        height = y + 22
        self.axes.set(xlim=(0, self.width), ylim=(height, 0))
        self.figure.set_size_inches(self.width / 72, height / 72)
        metadata = {"Title": title, "Description": "\n".join(self.content), "Date": None, "Creator": None}
        self.figure.savefig(path, format="svg", metadata=metadata)


def tint(colour, part):
    """A mixture of so large a part of colour with white."""
    return [part * c + 1 - part for c in to_rgb(colour)]


# what the function `diagram` of a model draws with
PARTS = SimpleNamespace(Diagram=Diagram, Net=Net, variable=variable, loss=loss, STAGE=STAGE, ARROW=ARROW)


@dataclass
class Options:
    """Draws the structure of models."""

    models: tyro.conf.Positional[tuple[str, ...]] = ()  # their folders; default: all that have a diagram


def diagram_of(folder):
    """The function `diagram` of a model's figures.py, or None."""
    file = folder / "figures.py"
    return getattr(load_file(file), "diagram", None) if file.is_file() else None


def draw(folder, into=HERE):
    """Draws the model in `folder`, which has a diagram, as <into>/<Model>.svg; returns that path."""
    path = Path(into) / f"{folder.name}.svg"
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc changes nothing
        matplotlib.rcParams.update(STYLE)
        diagram_of(folder)(PARTS, load_file(folder / "model.py").build()).save(path, folder.name)
    return path


def main():
    folders = [find_folder(name) for name in parse(Options).models]
    for folder in folders:
        if not diagram_of(folder):
            raise InputError(f"{folder} has no diagram: there is no function `diagram` in a figures.py")
    if not folders:
        models = sorted(file for pattern in ("*/model.py", "misc/*/model.py") for file in HERE.parent.glob(pattern))
        folders = [file.parent for file in models if diagram_of(file.parent)]
    for folder in folders:
        print(draw(folder))


if __name__ == "__main__":
    with refusing("img_src/draw.py"):
        main()
