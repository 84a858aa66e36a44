"""Pictures: grids of images, animated GIFs, curves. Everything is written whole or not at all."""

import math

import numpy as np
import torch

from common.files import replacing
from common.options import printable

# updates within the first epoch after which a grid is drawn, too
EARLY = (10, 20, 50, 100, 200, 500, 1000)


def frame_name(step, per_epoch):
    """The name of the grid due after update `step` = 1, 2, ..., or None: one an epoch, some within the first."""
    if step % per_epoch == 0:
        return f"epoch_{step // per_epoch:04d}"
    return f"step_{step:06d}" if step in EARLY and step < per_epoch else None


def to_grid(images):
    """Images (N, C, H, W) in [0, 1] (clamped, never stretched) -> one uint8 array (height, width, 3), row by row: ten a
    row, or a square where they are more than a hundred."""
    from torchvision.utils import make_grid

    columns = max(10, math.isqrt(len(images)))
    grid = make_grid(images.detach().float().clamp(0, 1).cpu(), columns, pad_value=0.25)
    return (grid * 255).round().byte().permute(1, 2, 0).numpy()


def save_gif(path, frames, most=40):
    """Animates PNG files, at most `most` of them (evenly chosen, the last always), the last one held longer.

    Files that are gone are left out; without any, nothing is written. 16 levels of each colour keep the file small."""
    import imageio.v3 as iio

    frames = [frame for frame in frames if frame.exists()]
    if not frames:
        return
    chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]
    pixels = [np.uint8(np.round(iio.imread(frame) / 17.0) * 17) for frame in chosen]
    with replacing(path) as file:
        durations = [250] * (len(pixels) - 1) + [2500]  # ms
        iio.imwrite(file, pixels, duration=durations if len(pixels) > 1 else durations[0], loop=0)


def figure(width=6.4, height=4.0, rows=1, **settings):
    """A matplotlib figure without a window, and its axes: an array where there are several rows."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, **settings)


def save(path, picture):
    """Writes images (N, C, H, W) in [0, 1] as a grid, or a matplotlib figure, as PNG. A $ in a text of a figure, say in
    the name of a class, is a $ and begins no formula."""
    with replacing(path) as file:
        if isinstance(picture, torch.Tensor):
            import imageio.v3 as iio

            iio.imwrite(file, to_grid(picture))
        else:
            from matplotlib.text import Text

            for text in picture.findobj(Text):
                text.set_text(printable(text.get_text()))
                if not text.get_text().startswith("$\\mathdefault"):  # those are numbers of an axis
                    text.set_parse_math(False)
            picture.savefig(file, dpi=100, metadata={"Software": None})


def save_run(folder, history, title):
    """Writes what shows the `History` of a run: process.gif from its frames, losses.png, a plot a curve."""
    save_gif(folder / "process.gif", [folder / frame for frame in history.frames])
    if len(history.losses.values):
        save_losses(folder / "losses.png", history.losses.names, history.losses.values, title)
    for name, points in history.curves.items():
        save_curve(folder / f"{name}.png", name, points, title)


def is_output(name):
    """Whether what an update returned under this name is an output of D, named D(x) or the like, and not a loss."""
    return name.startswith("D(")


def panels(names, steps):
    """Losses (names of the columns of `steps`) in groups [(label, names), ...] to be drawn on one axis each: those
    within a factor of 15 together, the largest first; outputs of D last."""
    sizes = dict(zip(names, np.percentile(np.abs(steps), 95, axis=0), strict=True))
    groups = []
    for name in sorted((name for name in names if not is_output(name)), key=lambda name: -sizes[name]):
        if not groups or 15 * sizes[name] < sizes[groups[-1][0]]:
            groups.append([])
        groups[-1].append(name)
    groups = [("loss", sorted(group, key=names.index)) for group in groups]
    outputs = [name for name in names if is_output(name)]
    return groups + ([("output of D", outputs)] if outputs else [])


def save_losses(path, names, steps, title):
    """Draws K losses over N updates (steps: (N, K) array): pale each value, full its running mean; in one panel what
    `panels` puts together."""
    steps = steps.astype(np.float64)
    groups = panels(names, steps)
    fig, axes = figure(6.4, 3.2 + 1.2 * len(groups), len(groups), sharex=True, squeeze=False)
    axes = axes[:, 0]
    window = max(1, len(steps) // 100)
    stride = max(1, len(steps) // 4000)
    for ax, (label, members) in zip(axes, groups, strict=True):
        columns = steps[:, [names.index(name) for name in members]]
        for i, (name, values) in enumerate(zip(members, columns.T, strict=True)):
            ax.plot(np.arange(1, len(values) + 1)[::stride], values[::stride], color=f"C{i}", alpha=0.25, linewidth=0.5)
            mean = np.convolve(values, np.ones(window) / window, "valid")
            ax.plot(np.arange(window, len(values) + 1), mean, color=f"C{i}", label=name)
        low, high = np.percentile(columns, [0, 99.5])  # a few early peaks must not flatten the rest
        ax.set_ylim(min(0, low), high + 0.05 * abs(high) + 1e-9)
        ax.set(ylabel=label + (f" (mean of {window} updates)" if window > 1 and ax is axes[0] else ""))
        ax.legend()
    axes[0].set(title=title)
    axes[-1].set(xlabel="update")
    save(path, fig)


def save_curve(path, name, points, title):
    """Draws values measured at epochs' ends. points: [(epoch, {label: value}), ...]."""
    fig, ax = figure()
    for label in dict.fromkeys(label for _, values in points for label in values):
        known = [(epoch, values[label]) for epoch, values in points if label in values]
        ax.plot(*zip(*known, strict=True), marker=".", label=label)
    ax.set(xlabel="epoch", ylabel=name, title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    save(path, fig)


def captioned(images, captions, title, columns=8):
    """Figure of images, uint8 (N, C, H, W), each with its caption."""
    rows = max(1, -(-len(images) // columns))
    fig, axes = figure(columns, 1.25 * rows + 0.4, rows, ncols=columns, squeeze=False)
    fig.suptitle(title)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, caption in zip(axes.flat, images.cpu(), captions, strict=False):
        ax.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=255)
        ax.set_title(caption, fontsize=8)
    return fig


def and_back(images, *others, columns=10):
    """Images (N, C, H, W) as rows, and below each row what became of them, as many, colours throughout where some have
    them: (2 N, C, H, W), or more with several others."""
    channels = max(part.shape[1] for part in (images, *others))
    rows = zip(*(part.expand(-1, channels, -1, -1).split(columns) for part in (images, *others)), strict=True)
    return torch.cat([part for row in rows for part in row])


def unit_square(n):
    """n x n points (n * n, 2) in (0, 1), row by row of a grid: the first dimension rightwards, the second upwards."""
    u = (torch.arange(n) + 0.5) / n
    return torch.cartesian_prod(u.flip(0), u).flip(1)


def scatter(points, labels, classes, title, prior=None):
    """Figure of points (N, 2), say codes, coloured by their labels (N,), which index classes, over points
    (M, 2) of a prior, in grey."""
    from matplotlib import colormaps

    fig, ax = figure(6.4, 5.6)
    if prior is not None:
        ax.scatter(*prior.cpu().numpy().T, c="0.87", s=3, linewidths=0, label="prior")
        ax.legend(loc="upper right", markerscale=4)
    colours = next((n for n in (10, 20) if len(classes) <= n), len(classes))
    colormap = f"tab{colours}" if colours <= 20 else colormaps["turbo"].resampled(colours)
    drawn = ax.scatter(*points.cpu().numpy().T, c=labels.cpu().numpy(), cmap=colormap, vmin=-0.5, vmax=colours - 0.5,
                       s=3, linewidths=0, alpha=0.6)
    named = range(0, len(classes), -(-len(classes) // 20))
    bar = fig.colorbar(drawn, ticks=named)
    bar.ax.set_ylim(-0.5, len(classes) - 0.5)
    bar.set_ticklabels([classes[i] for i in named])
    bar.solids.set_alpha(1)
    ax.set(xlabel="first dimension of the code", ylabel="second", title=title, aspect="equal")
    return fig
