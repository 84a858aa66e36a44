"""Draws how models became better:    python misc/course.py GAN LSGAN WGAN WGAN-GP

From the result.json of each, of a variant for which misc/seeds.py measured --every so many epochs: the FID of all over
the updates of G and over time, and of each alone, as <Model>/results/<variant>/course.png, FID and losses (means since
the point before) over the updates. With --beside the picture of all has minutes alone, and what
misc/time_to_quality.py measured beside them."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Whole  # noqa: E402
from common.files import writable_folder  # noqa: E402
from common.images import figure, is_output, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc.places import find_folder, misc_folder, writable_file  # noqa: E402


@dataclass
class Options:
    """Draws how models became better."""

    models: tyro.conf.Positional[tuple[str, ...]]  # their folders
    variant: str = "default"  # of each, as in its result.json
    after: Whole = 0  # updates of G before which the rank correlations of the losses leave the points out
    out: Path | None = None  # the picture of all; default: misc/samples/course.png
    beside: Path | None = None  # time_to_quality.json: draw the GAN written the usual way and real images, too
    publish: bool = False  # write misc/results/course.png, which is committed, instead


def courses(folder, variant):
    """{seed: [point, ...]} of a model, see misc/seeds.py. Raises InputError where nothing was measured."""
    file = folder / "results" / "result.json"
    try:
        entry = json.loads(file.read_text("utf-8"))[variant]
        return {seed: run["course"] for seed, run in zip(entry["seeds"], entry["runs"], strict=True)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = "" if isinstance(error, KeyError | FileNotFoundError) else f" ({error})"
        raise InputError(f"{file} has no course of {variant}{reason}; misc/seeds.py --every measures it") from None


def correlation(points, loss):
    """Spearman's rank correlation of a loss with the FID over the points: 1 where the two rise and fall together; None
    of fewer than three points, or of a constant."""
    from scipy.stats import spearmanr

    a, b = [point["losses"][loss] for point in points], [point["fid"] for point in points]
    return float(spearmanr(a, b)[0]) if len(points) > 2 and len(set(a)) > 1 and len(set(b)) > 1 else None


def correlations(courses, loss):
    """The rank correlations of a loss with the FID in several courses, as text."""
    values = (correlation(points, loss) for points in courses)
    return ", ".join("none" if value is None else f"{value:.2f}" for value in values)


def draw_one(title, seeds):
    """FID and each loss over the updates, a line a seed."""
    names = [name for name in next(iter(seeds.values()))[0]["losses"] if not is_output(name)]
    fig, axes = figure(6.4, 2.2 * (1 + len(names)) + 0.4, 1 + len(names), sharex=True)
    for seed, points in seeds.items():
        updates = [point["updates"] for point in points]
        axes[0].plot(updates, [point["fid"] for point in points], marker=".", label=f"seed {seed}")
        for name, ax in zip(names, axes[1:], strict=True):
            ax.plot(updates, [point["losses"][name] for point in points], marker=".")
            ax.set(ylabel=name)
    axes[0].set(title=title)
    show_fid(axes[0])
    axes[0].legend()
    axes[-1].set(xlabel="updates of G")
    return fig


def show_fid(ax):
    """A logarithmic axis of FID."""
    ax.set(ylabel="FID (2,000 images)", yscale="log")
    show_numbers(ax.yaxis, 1, 1.5, 2, 3, 5, 7)


def show_numbers(axis, *steps):
    """Makes the ticks of a logarithmic axis numbers, also where it spans less than a power of ten: these times 1, 10,
    100 and so on."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter("{x:,.10g}")


def usual_way(file):
    """What misc/time_to_quality.py wrote: minutes and FID of the usual way, and the FID of real images. Raises
    InputError where it is something else."""
    try:
        result = json.loads(file.read_text("utf-8"))
        points = [(float(point["minutes"]), float(point["fid"])) for point in result["points"]["usual"]]
        return *zip(*points, strict=True), float(result["real"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--beside: {file} is not of misc/time_to_quality.py ({error!r})") from None


def draw_beside(title, models, minutes, fid, real):
    """The FID of several models, as for `draw_all`, over minutes, beside that of the usual way and of real images."""
    fig, ax = figure(6.4, 4.4)
    draw_range(ax, models, "seconds", 1 / 60)
    ax.plot(minutes, fid, color="0.3", label="GAN written the usual way")
    ax.axhline(real, color="0.6", linestyle="--", label="real images")
    show_fid(ax)
    ax.set(xscale="log", xlabel="minutes of training on one core", title=title)
    show_numbers(ax.xaxis, 1, 2, 5)
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def draw_range(ax, models, key, unit=1):
    """Mean and range of the seeds' FID over their median of `key` in a unit."""
    for name, seeds in models.items():
        x, fid = (np.array([[point[key] for point in points] for points in seeds.values()]) for key in (key, "fid"))
        ax.plot(np.median(x, 0) * unit, fid.mean(0), marker=".", label=name)
        ax.fill_between(np.median(x, 0) * unit, fid.min(0), fid.max(0), alpha=0.2)


def draw_all(title, models):
    """The FID of several models, {name: seeds}, over updates and over time: mean and range of the seeds."""
    fig, axes = figure(6.4, 6.8, 2)
    draw_range(axes[0], models, "updates")
    draw_range(axes[1], models, "seconds", 1 / 60)
    axes[0].set(xscale="log", xlabel="updates of G", title=title)
    axes[1].set(xlabel="minutes of training")
    for ax in axes:
        show_fid(ax)
    axes[0].legend()
    return fig


def main():
    opt = parse(Options)
    out = writable_file(opt.out or misc_folder(ROOT, opt.publish) / "course.png", "--out", ".png")
    folders = [find_folder(name) for name in opt.models]
    if not folders or len(set(folders)) < len(folders):
        raise InputError("name one model or more, each once")
    models = {folder.name: courses(folder, opt.variant) for folder in folders}
    what = "" if opt.variant == "default" else f", {opt.variant}"
    for folder, (name, seeds) in zip(folders, models.items(), strict=True):
        save(writable_folder(folder / "results" / opt.variant, "MODELS") / "course.png",
                    draw_one(f"{name}{what}", seeds))
        for loss in (name for name in next(iter(seeds.values()))[0]["losses"] if not is_output(name)):
            late = ([point for point in points if point["updates"] >= opt.after] for points in seeds.values())
            say(f"{name}{what}: rank correlation of {loss} with the FID, each seed: {correlations(late, loss)}")
    counts = sorted({str(len(seeds)) for seeds in models.values()}, key=int)
    title = f"mean and range of {' or '.join(counts)} seeds{what}"
    save(out, draw_beside(title, models, *usual_way(opt.beside)) if opt.beside else draw_all(title, models))
    say(f"see {out}, and course.png in the results of each model")


if __name__ == "__main__":
    with refusing("misc/course.py"):
        main()
