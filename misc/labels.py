"""Draws how many images a model reads with few labels, and by how much each form of it gains on the first:

    python misc/labels.py SGAN

From the variants of its result.json that are called "FORM, N labels": the picture, labels.png, goes to the results of
the variant that its page shows first. Or, where a training measures several forms itself, from the metrics of that
name: a picture for each variant. A seed draws the same labels for all forms, so the gains are those of pairs."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from measured import read_model  # noqa: E402

from common.files import writable_folder  # noqa: E402
from common.images import figure, save  # noqa: E402
from common.log import say  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402
from misc.places import find_folder  # noqa: E402


@dataclass
class Options:
    """Draws how many images a model reads with few labels."""

    model: tyro.conf.Positional[str]  # its folder


def named(name):
    """(form, labels) of a name "FORM, N labels", None of another."""
    match = re.fullmatch(r"(.+), (\d+) labels", name)
    return match and (match[1], int(match[2]))


def by_form(seeds):
    """{form: {labels: {seed: accuracy}}}, most labels first, of {name: {seed: accuracy}}."""
    found = {}
    for name, of in seeds.items():
        if match := named(name):
            form, n = match
            found.setdefault(form, {})[n] = of
    return {form: dict(sorted(of.items(), reverse=True)) for form, of in found.items()}


def of_seeds(entry, metric):
    """{seed: number} of a metric of an entry."""
    return dict(zip(entry["seeds"], entry["metrics"][metric]["seeds"], strict=True))


def accuracies(entries):
    """`by_form` of a model's entries."""
    return by_form({name: of_seeds(entry, "accuracy") for name, entry in entries.items()
                    if "accuracy" in entry["metrics"]})


def curves(entry):
    """`by_form` of an entry's metrics."""
    return by_form({name: of_seeds(entry, name) for name in entry["metrics"]})


def interval(values):
    """(mean, half the width of its 95% confidence interval by Student's t) of two values or more."""
    from scipy.stats import t

    return np.mean(values), t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5


def gains(found):
    """{form: {labels: `interval` of the gain in percentage points on the first form, seed by seed}} of `accuracies`,
    where they have two seeds in common."""
    first, *others = found or [None]
    return {form: {n: interval([100 * (of_seed[seed] - found[first][n][seed]) for seed in seeds])
                   for n, of_seed in found[form].items()
                   if len(seeds := of_seed.keys() & found[first].get(n, {}).keys()) > 1}
            for form in others}


def draw(title, found):
    """Figure of the accuracies: a line a form through the means, a dot a seed."""
    fig, ax = figure(6.4, 4.4)
    for i, (form, of) in enumerate(found.items()):
        shift = 1.03 ** (i - (len(found) - 1) / 2)  # so that the dots of the forms stand side by side
        x = [shift * n for n in of]
        line, = ax.plot(x, [100 * np.mean(list(seeds.values())) for seeds in of.values()], label=form)
        for place, seeds in zip(x, of.values(), strict=True):
            ax.plot([place] * len(seeds), [100 * value for value in seeds.values()], ".", color=line.get_color(),
                    markersize=4)
    ticks = sorted({n for of in found.values() for n in of})
    ax.set(title=title, xscale="log", xlabel="labels", ylabel="test images read (%)")
    ax.set_xlim(ticks[0] / 1.5, ticks[-1] * 1.5)
    ax.set_xticks(ticks, ticks)
    ax.minorticks_off()
    ax.legend(loc="upper left")
    return fig


def main():
    folder = find_folder(parse(Options).model)
    model = read_model(folder, folder.parent)
    entries, found = model.entries if model else {}, []
    for variant, entry in entries.items():
        found += [(variant, f"{model.head['title']}, {variant}", of)] if (of := curves(entry)) else []
    if of := accuracies(entries):
        found.append((model.head["variant"], model.head["title"], of))
    if not found:
        raise InputError(f'{folder / "results" / "result.json"} has no accuracy called "FORM, N labels"')
    for variant, title, of in found:
        out = writable_folder(folder / "results" / variant, "MODEL") / "labels.png"
        save(out, draw(f"{title}: a dot is one draw of the labels", of))
        for form, gained in gains(of).items():
            say(f"{variant}: {form} gains on {next(iter(of))}: " + ", ".join(
                f"{n} labels {mean:+.1f} ± {half:.1f} points" for n, (mean, half) in gained.items()))
        say(f"see {out}")


if __name__ == "__main__":
    with refusing("misc/labels.py"):
        main()
