"""Writes the README's result tables and misc/gallery.html from the result.json files:    python misc/tables.py

--check writes nothing and ends with status 2 where one of the two is not current (the tests do that; pictures do not
count, since whoever trains a model makes new ones)."""

import base64
import html
import io
import json
import math
import re
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from course import correlations  # noqa: E402

from common import metrics, scorer  # noqa: E402
from common.files import replacing  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402

# the metrics of all models; what else a train.py recorded stands in a table of that model
COLUMNS = {"fid": "FID", "kid": "KID", "is": "IS", "precision": "precision", "recall": "recall",
           "class_kl": "KL of classes", "nearest": "nearest", "agreement": "label agreement"}
DIGITS = {"fid": 2, "kid": 2, "is": 2, "precision": 3, "recall": 3, "class_kl": 4, "nearest": 2, "agreement": 4}
# what papers report on MNIST: recalled, not read again, and with other features, so for orientation only
REPORTED = {
    "GAN": "FID about 6.8 ± 0.5 (Lucic et al. 2018; Inception features)",
    "WGAN": "FID about 6.7 ± 0.4 (Lucic et al. 2018; Inception features)",
    "WGAN-GP": "FID about 20.3 ± 5 (Lucic et al. 2018; Inception features)",
    "LSGAN": "FID about 7.8 ± 0.6 (Lucic et al. 2018; Inception features)",
}

OBJECTIVES = ("GAN", "LSGAN", "WGAN", "WGAN-GP")  # compared in tables of their own, in these variants:
EQUAL_TIME = "equal-time"
WITHOUT_BATCHNORM = {"no-batchnorm": "PyTorch's", "no-batchnorm-he": "He et al.'s"}  # -> initial weights
FAILED = 1.5  # without BatchNorm: training failed where IS is lower (1: all images are of one class)


@dataclass
class Options:
    """Writes the README's result tables and misc/gallery.html from the result.json files."""

    check: bool = False  # write nothing; end with status 2 where one of the two is not current


def results():
    """[(model, variant, entry of result.json)], the baselines last.

    Raises InputError where a file is damaged, or a result was scored in another way than the others."""
    files = sorted(ROOT.glob("*/samples/result.json"), key=lambda file: (file.parts[-3] == "misc", file))
    present, rows = scorer.sha256(scorer.WEIGHTS), []
    for file in files:
        try:
            entries = json.loads(file.read_text("utf-8"))
            for variant, entry in entries.items():
                if entry["scorer"] != present:
                    raise InputError(f"{file}: {variant} was scored by another classifier; score it with misc/seeds.py")
                if entry["images"] != 10_000 or {run.get("dataset", "mnist") for run in entry["runs"]} != {"mnist"}:
                    raise InputError(f"{file}: {variant} is not of 10,000 images against MNIST: measure or remove it")
                if any(run.get("holdout") for run in entry["runs"]):
                    raise InputError(f"{file}: {variant} was held against --holdout images; remove it")
                rows.append((file.parts[-3], variant, entry))
                length(entry), [cell(entry, name) for name in entry["metrics"]]  # all that is shown is there
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{file} is damaged ({type(error).__name__}: {error})") from None
    return rows


def cell(entry, name):
    """Mean ± spread of a metric, or nothing."""
    if name not in entry["metrics"]:
        return ""
    value = entry["metrics"][name]
    size = abs(value["mean"]) or 1
    counting = max(0, 3 - math.floor(math.log10(size))) if math.isfinite(size) else 0  # four digits that count
    digits = DIGITS.get(name, counting)
    return f"{value['mean']:.{digits}f}" + (f" ± {value['std']:.{digits}f}" if value["std"] is not None else "")


def title(model, variant):
    if model == "misc":
        return variant
    return f"[{model}](#{model.lower()})" + ("" if variant == "default" else f", {variant}")


def minutes(entry):
    """How long training took: the median of the seeds, rounded, as text."""
    return f"{statistics.median(run['seconds'] for run in entry['runs']) / 60:.0f}"


def length(entry):
    """How long training took, in words."""
    return f"{entry['runs'][0]['steps']:,} updates, {minutes(entry)} min" if "steps" in entry["runs"][0] else ""


def generating(rows):
    """The rows of what generates images: the others, classifiers, have no metrics of images."""
    return [row for row in rows if row[2]["metrics"].keys() & COLUMNS.keys()]


def result_table(rows):
    """The Markdown table of the metrics of all models."""
    names = [name for name in COLUMNS if any(name in entry["metrics"] for _, _, entry in rows)]
    lines = [f"| | {' | '.join(COLUMNS[name] for name in names)} | seeds | training |",
             f"|---|{'---|' * (len(names) + 2)}"]
    for model, variant, entry in generating(rows):
        cells = [cell(entry, name) for name in names]
        lines.append(f"| {title(model, variant)} | {' | '.join(cells)} | {len(entry['seeds'])} | {length(entry)} |")
    return "\n".join(lines)


def own(entries):
    """The names of what these entries measured beside the metrics of all models."""
    return list(dict.fromkeys(name for entry in entries for name in entry["metrics"] if name not in COLUMNS))


def own_tables(rows):
    """{model: Markdown table of what it measures itself, a row a variant}, of those models that do."""
    tables = {}
    for model in dict.fromkeys(model for model, _, _ in rows):
        entries = {variant: entry for name, variant, entry in rows if name == model}
        names = own(entries.values())
        if names:
            heads = [name.replace("|", "\\|") for name in names]
            lines = [f"| | {' | '.join(heads)} | seeds | training | command |", f"|---|{'---|' * (len(names) + 3)}"]
            for variant, entry in entries.items():
                cells = ["" if variant == "default" else variant, *(cell(entry, name) for name in names),
                         len(entry["seeds"]), length(entry), f"`{entry['command']}`"]
                lines.append(f"| {' | '.join(map(str, cells))} |")
            tables[model] = "\n".join(lines)
    return tables


def seed_table(rows):
    """The Markdown table of every seed of the models, with the commands and what papers report."""
    lines = ["| | reported | ours, every seed: FID | IS | recall | command | on |", "|---|---|---|---|---|---|---|"]
    for model, variant, entry in generating(rows):
        if model == "misc":
            continue
        other = variant in (EQUAL_TIME, *WITHOUT_BATCHNORM)  # than what a paper reports
        reported = "" if other else REPORTED.get(model, "")
        seeds = [", ".join(f"{value:.{DIGITS[name]}f}" for value in entry["metrics"][name]["seeds"])
                 for name in ("fid", "is", "recall")]
        run = entry["runs"][-1]
        threads = f"{run['threads']} thread{'s' * (run['threads'] > 1)}"
        where = f"{run['device']}, {threads}, {run['precision']}, torch {run['versions']['torch']}, {run['date']}"
        lines.append(f"| {title(model, variant)} | {reported} | {' | '.join(seeds)} "
                     f"| `{entry['command']}` | {where} |")
    return "\n".join(lines)


def objective_table(rows):
    """The Markdown table of the models that were trained for equal time.

    Only models that misc/seeds.py measured --every so many epochs."""
    entries = {(model, variant): entry for model, variant, entry in rows}
    lines = ["| | updates of G | minutes | FID | IS | recall "
             "| rank correlation of FID with D's loss (WGANs: with D's estimate), every seed |",
             "|---" * 7 + "|"]
    for model in OBJECTIVES:
        entry = entries.get((model, EQUAL_TIME))
        if not entry or "course" not in entry["runs"][0]:
            continue
        first, *_ = entry["runs"][0]["course"][0]["losses"]  # D's
        cells = [title(model, "default"), f"{entry['runs'][0]['steps']:,}", minutes(entry),
                 *(cell(entry, name) for name in ("fid", "is", "recall")),
                 correlations((run["course"] for run in entry["runs"]), first)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def bare_table(rows):
    """The Markdown table of the same models without BatchNorm in G: how many seeds fail."""
    lines = ["| | initial weights | updates of G | failed | every seed: FID | IS | command |", "|---" * 7 + "|"]
    entries = {(model, variant): entry for model, variant, entry in rows}
    for variant, init in WITHOUT_BATCHNORM.items():
        for model in OBJECTIVES:
            if entry := entries.get((model, variant)):
                fid, scores = (entry["metrics"][name]["seeds"] for name in ("fid", "is"))
                cells = [title(model, "default"), init, f"{entry['runs'][0]['steps']:,}",
                         f"{sum(value < FAILED for value in scores)} of {len(scores)}",
                         ", ".join(f"{value:.0f}" for value in fid), ", ".join(f"{value:.2f}" for value in scores),
                         f"`{entry['command']}`"]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def fill(text, blocks):
    """The text with what stands between `<!-- name: begin -->` and `<!-- name: end -->` replaced, for each name.

    Raises InputError where markers are missing."""
    for name, block in blocks.items():
        pattern = re.compile(rf"(<!-- {name}: begin[^>]*-->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        text, found = pattern.subn(lambda match, block=block: f"{match[1]}{block}\n{match[2]}", text)
        if found != 1:
            raise InputError(f"README.md: the markers of {name} are there {found} times, not once")
    return text


def picture(file, frames=12, side=640):
    """A picture as data: URI, with few colours, at most so many frames of a GIF, others at most so many pixels wide and
    high, so that the page stays small."""
    from PIL import Image, ImageSequence

    if not file.exists():
        return ""
    data = file.read_bytes()
    if file.suffix == ".gif":
        with Image.open(file) as gif:
            grey = [frame.convert("L").quantize(8) for frame in ImageSequence.Iterator(gif)]
        chosen = [grey[i * (len(grey) - 1) // max(1, frames - 1)] for i in range(min(frames, len(grey)))]
        buffer = io.BytesIO()
        durations = [300] * (len(chosen) - 1) + [2500]  # ms
        chosen[0].save(buffer, "GIF", save_all=True, append_images=chosen[1:], duration=durations, loop=0)
        data = min(data, buffer.getvalue(), key=len)
    else:
        buffer = io.BytesIO()
        with Image.open(file) as image:
            image = image.convert("RGB")
            image.thumbnail((side, side))
            image.quantize(32, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        data = min(data, buffer.getvalue(), key=len)
    return f"data:image/{file.suffix[1:]};base64,{base64.b64encode(data).decode()}"


CAPTIONS = {"process": "during training", "losses": "losses", "course": "FID and losses", "accuracy": "accuracy",
            "confusion": "confusion matrix of the test images", "scatter": "codes of the test images",
            "manifold": "decoded grid of codes"}


def shots(samples, brief=False):
    """The pictures of a folder of samples that the gallery shows. brief: the codes alone, or where it has no picture of
    them the last grid, of a further variant of a model."""
    last = sorted(samples.glob("epoch_*.png"))[-1:]
    files = [samples / "process.gif", *last, *(samples / f"{name}.png" for name in CAPTIONS)]
    there = [file for file in files if file.exists()]
    return [file for file in there if file.stem == "scatter"] or last or there[:1] if brief else there


STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1250px; margin: 0 auto; padding: 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid #8886; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: Canvas; }
th button { font: inherit; font-weight: 600; background: none; border: 0; color: inherit; padding: .3rem 0; }
th[aria-sort=ascending] button::after { content: " ▲"; } th[aria-sort=descending] button::after { content: " ▼"; }
section { margin-top: 2.5rem; } .pictures { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; flex: 1 1 280px; max-width: 480px; } img { max-width: 100%; height: auto; background: #fff; }
figcaption, .note { font-size: .9rem; opacity: .8; } code { overflow-wrap: anywhere; }
"""
SCRIPT = """
document.querySelectorAll("th button").forEach(button => button.onclick = () => {
  const th = button.parentNode, i = th.cellIndex, body = th.closest("table").tBodies[0];
  const up = th.getAttribute("aria-sort") ? th.getAttribute("aria-sort") !== "ascending" : th.dataset.first !== "down";
  th.parentNode.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[i].dataset.value ?? "";
  [...body.rows].sort((a, b) => {
    if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
    const order = i ? key(a) - key(b) : key(a).localeCompare(key(b));
    return up ? order : -order;
  }).forEach(row => body.append(row));
});
"""


def gallery(rows, pictures=True):
    """The page, self-contained: a sortable table of results, and each model's GIF, last grid, curves and numbers."""
    names = [name for name in COLUMNS if any(name in entry["metrics"] for _, _, entry in rows)]
    def head(name):
        first = "down" if name in metrics.HIGHER_IS_BETTER else "up"
        return f'<th data-first="{first}"><button>{COLUMNS[name]}</button></th>'

    def data(value, shown):
        return f'<td data-value="{html.escape(str(value))}">{shown}</td>'

    lines = []
    for model, variant, entry in rows:
        plain = variant if model == "misc" else model + ("" if variant == "default" else f", {variant}")
        link = html.escape(plain) if model == "misc" else f'<a href="#{model}">{html.escape(plain)}</a>'
        means = [entry["metrics"][name]["mean"] if name in entry["metrics"] else "" for name in names]
        cells = [data(plain, link), *(data(mean, cell(entry, name)) for mean, name in zip(means, names, strict=True)),
                 data(len(entry["seeds"]), len(entry["seeds"]))]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    sections = []
    for folder in sorted({file.parent for file in ROOT.glob("*/train.py")}):
        places, figures = [folder / "samples", *sorted((folder / "samples").glob("*/"))] if pictures else [], ""
        first = next((place for place in places if shots(place)), None)
        for file in (file for place in places for file in shots(place, brief=place != first)):
            caption = CAPTIONS.get(file.stem) or f"after epoch {int(file.stem[6:])}"
            caption = caption if file.parent == places[0] else f"{file.parent.name}: {caption}"
            source = picture(file) if len(places) == 1 else picture(file, frames=3, side=400)
            figures += (f'<figure><img src="{source}" alt="{caption}, {folder.name}"><figcaption>{caption}</figcaption>'
                        "</figure>")
        notes = [f"<p>{html.escape('' if variant == 'default' else variant + ': ')}"
                 + ", ".join(f"{html.escape(COLUMNS.get(name, name))} {cell(entry, name)}"
                             for name in (*names, *own([entry])) if name in entry["metrics"])
                 + f". {html.escape(length(entry))}. <code>{html.escape(entry['command'])}</code></p>"
                 for model, variant, entry in rows if model == folder.name]
        if folder.name in REPORTED:
            notes.append(f'<p class="note">Reported: {html.escape(REPORTED[folder.name])}</p>')
        sections.append(f'<section id="{folder.name}"><h2>{folder.name}</h2>{"".join(notes)}'
                        f'<div class="pictures">{figures}</div></section>')
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fun with MNIST</title><style>{STYLE}</style></head><body>
<h1>Fun with MNIST</h1>
<p>Every model by one protocol: 10,000 generated images against the 10,000 test images of MNIST, by the features of one
digit classifier; mean ± standard deviation over seeds. A column's title sorts.</p>
<div class="wide"><table><thead>
<tr><th><button>model</button></th>{"".join(map(head, names))}<th><button>seeds</button></th></tr></thead>
<tbody>
{chr(10).join(lines)}
</tbody></table></div>
{chr(10).join(sections)}
<script>{SCRIPT}</script></body></html>
"""


def without_pictures(text):
    return re.sub(r"<figure>.*?</figure>", "", text)


def main():
    check, rows = parse(Options).check, results()
    readme, page = ROOT / "README.md", ROOT / "misc" / "gallery.html"
    text = readme.read_text("utf-8")
    shown = {model: table for model, table in own_tables(rows).items() if f"<!-- {model}: begin" in text}
    texts = {readme: fill(text, {"results": result_table(rows), "seeds": seed_table(rows),
                                 "objectives": objective_table(rows), "without BatchNorm": bare_table(rows), **shown}),
             page: gallery(rows, pictures=not check)}
    stale = [path.name for path, text in texts.items()
             if not path.exists() or without_pictures(path.read_text("utf-8")) != without_pictures(text)]
    if check and stale:
        raise InputError(f"{', '.join(stale)}: not current; python misc/tables.py writes them")
    for path, text in {} if check else texts.items():
        with replacing(path) as file:
            file.write_text(text, "utf-8")


if __name__ == "__main__":
    with refusing("misc/tables.py"):
        main()
