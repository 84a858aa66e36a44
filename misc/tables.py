"""Writes the tables of all pages, and misc/gallery.html, from what was measured:    python misc/tables.py

What stands between `<!-- NAME: begin -->` and `<!-- NAME: end -->`, on a line each, is written here (NAME: see
`blocks`), on README.md, */README.md and misc/*/README.md; nothing else of a page is changed. A folder with results but
without a page gets one. A result that cannot stand beside the others is left out, with a warning. --check writes
nothing and ends with status 2 where something is not current."""

import json
import os
import re
import sys
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import measured  # noqa: E402
from course import correlations  # noqa: E402
from gallery import caption, gallery  # noqa: E402
from labels import accuracies, curves, gains, named  # noqa: E402
from measured import COLUMNS, ODD, REAL, as_html, cell, generates, heading, minutes, plain, updates, warn  # noqa: E402

from common.files import replacing  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402

WIDTH, LETTER, PADDING = 836, 7.5, 27  # pixels on GitHub: of a page; in a table of a letter, and beside a cell's text
FAILED = 1.5  # a training has failed where IS is lower (1: all images are of one class)


@dataclass
class Options:
    """Writes the tables of all pages, and misc/gallery.html, from what was measured."""

    check: bool = False  # write nothing; end with status 2 where something is not current


# ---- the parts of a page


def table(heads, rows):
    """A Markdown table of cells that are Markdown, without its empty columns and rows; where it would be wider than a
    page several of about the same width, with the same first column."""
    def width(column):
        shown = [re.sub(r"\]\([^)]*\)", "", text) for text in column[1:]]
        longest = max(map(len, [*re.split("[ -]", column[0]), *(text[:14] for text in shown)]))  # what is longer wraps
        return PADDING + LETTER * longest

    def split(limit):
        parts, taken = [[first]], width(first)
        for column, size in zip(columns, sizes, strict=True):
            if taken + size > limit:
                parts.append([bare])
                taken = width(bare)
            parts[-1].append(column)
            taken += size
        return parts

    first, *columns = zip(heads, *rows, strict=True)
    columns = [column for column in columns if any(column[1:])]
    bare, sizes = [text.split("<br>")[0] for text in first], list(map(width, columns))
    needed = len(split(WIDTH))
    parts = next(parts for limit in range(WIDTH // 2, WIDTH + 1) if len(parts := split(limit)) <= needed)
    tables = []
    for part in parts:
        head, *lines = [f"| {' | '.join(cells)} |" for i, cells in enumerate(zip(*part, strict=True))
                        if not i or any(cells[1:])]
        tables.append("\n".join([head, "|---" * len(part) + "|", *lines]))
    return "\n\n".join(tables)


def with_notes(text, rows, own_page=False):
    """What shows `rows`, [(model, variant, entry), ...], and below it what is to be said of them."""
    return "\n\n".join([text, *map(plain, measured.notes(rows, own_page))])


def floating(tiles, width, beside):
    """Tiles, HTML, as tables that float: so many side by side on a wide page (a line of text), one on a phone."""
    tables = [f'<table align="left"><tr><td width="{width}">{tile}</td></tr></table>' for tile in tiles]
    return "\n".join("".join(tables[i:i + beside]) + '<br clear="all">' for i in range(0, len(tables), beside))


def link(file, page):
    return quote(Path(os.path.relpath(file, page.parent)).as_posix())


def mark(model, variant):
    return " †" if variant in model.earlier else ""


def title(model, page, variant, named=True):
    """A model's name, linked to its page, with the variant where it is not the default."""
    name = plain(model.head["title"]) + (f", {plain(variant)}" if named and variant != "default" else "")
    return f"[{name}]({link(model.folder, page)}){mark(model, variant)}"


def length(entry, seeds=False):
    """How long a training is, and of how many seeds, on a line below a name: a phone has no room for more columns."""
    n = len(entry["seeds"])
    parts = [f"{n} seed{'s' * (n > 1)}" if seeds else "", updates(entry) and f"{updates(entry)} updates",
             minutes(entry) and f"{minutes(entry)} min"]
    return "<br>" + ", ".join(filter(None, parts)) if any(parts) else ""


def image(model, page, width):
    """The picture that stands for a model, linked to its page, as HTML; nothing where there is none."""
    return (f'<a href="{link(model.folder, page)}"><img src="{link(model.picture(), page)}" '
            f'alt="{escape(model.head["title"])}" width="{width}"></a>') if model.picture() else ""


def by_group(models):
    return [(group, list(part)) for group, part in groupby(models, lambda model: model.head["group"])]


# ---- the blocks


def strip(page, models):
    """Animations in whole rows of four, two at most: of each group the best, then the second, and so on."""
    places = sorted((i, at, model.head["picture"].endswith(".gif"), model) for at, (_, part) in
                    enumerate(by_group(models)) for i, model in enumerate(part))
    images = [image(model, page, "24%") for _, _, moves, model in places if moves]
    rows = [" ".join(images[i:i + 4]) for i in range(0, len(images), 4)]
    return "\n".join(["<p>", *(row for row in rows[:2] if row is rows[0] or row.count("<img") == 4), "</p>"])


def tiles(page, models):
    """By group, a tile a model: picture, name, sentence, the figure it is judged by. Notes stand below `overview`."""
    lines = []
    for group, part in by_group(models):
        texts = []
        for model in part:
            lead = f'<b><a href="{link(model.folder, page)}">{escape(model.head["title"])}</a></b>'
            facts = [as_html(model.head["note"])]
            if figure := model.figure():
                name, entry = figure
                judged = f"{heading(name)} {cell(entry, name)} {model.head['unit']}"
                facts = [as_html(judged) + mark(model, model.head["variant"]),
                         minutes(entry) and f"{minutes(entry)} min", *facts]
            parts = [image(model, page, 240), lead, as_html(model.head["idea"]), ", ".join(filter(None, facts))]
            texts.append("<br>".join(filter(None, parts)))
        lines += [f"### {plain(group)}", floating(texts, 240, 3)]
    return "\n\n".join(lines)


def overview(page, models, baselines):
    """By group, a row a model, its headline variant: beside real images where it generates, and by its own figure."""
    names, texts, shown = ("fid", "is", "recall"), [], []
    for group, part in by_group(models):
        rows = [(model, model.head["variant"], *model.figure()) for model in part if model.figure()]
        made = [[title(model, page, variant) + length(entry), *(cell(entry, name) for name in names),
                 f"{plain(heading(figure))} {cell(entry, figure)}" if figure not in names else ""]
                for model, variant, figure, entry in rows if generates(entry)]
        other = [[title(model, page, variant) + length(entry), f"{plain(heading(name))} {cell(entry, name)}"]
                 for model, variant, name, entry in rows if not generates(entry)]
        real = [[REAL, *(cell(baselines[REAL], name) for name in names), ""]] if REAL in baselines else []
        said = [(plain(head["title"]), "; ".join(filter(None, [head["note"], head["reported"] and "reported "
                 + head["reported"]]))) for head in (model.head for model, *_ in rows)]
        texts += [f"**{plain(group)}**"] if rows else []
        texts += [table(["", *map(heading, names), "judged by"], real + made)] if made else []
        texts += [table(["", "figure"], other)] if other else []
        texts += ["<br>".join(f"{name}: {measured.with_links(text)}" for name, text in said if text)]
        shown += [(model, variant, entry) for model, variant, _, entry in rows]
    return with_notes("\n\n".join(filter(None, texts)), shown)


def metric_table(entries, marks):
    """Every metric of entries, {name: entry}, but those of `labels_table`, a row each; marks: {name: what follows}. A
    model's own come first, and last what its headline variant, the first that is not of real images, does not have.
    Metrics "PART: NAME", say of one direction of translation, are in a table of their own, a row a part."""
    found = dict.fromkeys(name for entry in entries.values() for name in entry["metrics"] if not named(name))
    headline = next((entry["metrics"] for name, entry in entries.items() if name != REAL), {})
    own, more = ([name for name in found if name not in COLUMNS and (name in headline) == has] for has in (True, False))
    names = own + [name for name in COLUMNS if name in found] + more
    whole, split = ([name for name in names if (": " in name) == parted] for parted in (False, True))
    columns = {name.split(": ", 1)[1]: plain(heading(name).split(": ", 1)[1]) for name in split}
    rows, of_parts = [], []
    for variant, entry in entries.items():
        name, more = plain(variant) + marks.get(variant, ""), length(entry, seeds=True)
        rows.append([name + more, *(cell(entry, metric) for metric in whole)])
        for part in dict.fromkeys(metric.split(": ", 1)[0] for metric in entry["metrics"] if metric in split):
            of_parts.append([f"{name}, {plain(part)}" + ("" if whole else more),
                             *(cell(entry, f"{part}: {column}") for column in columns)])
    tables = [table(["", *(plain(heading(name)) for name in whole)], rows)] if whole or not split else []
    tables += [table(["", *columns.values()], of_parts)] if split else []
    return "\n\n".join(tables)


def own_results(model, baselines):
    """All variants of a model, the headline first, beside real images where it generates."""
    variants = sorted(model.entries, key=lambda name: name != model.head["variant"])
    entries = {name: model.entries[name] for name in variants}
    if any(map(generates, entries.values())) and REAL in baselines:  # by what one of the variants is measured by, too
        known = {name for entry in entries.values() for name in entry["metrics"]}
        of_real = {name: value for name, value in baselines[REAL]["metrics"].items() if name in known}
        entries = {REAL: {**baselines[REAL], "metrics": of_real}, **entries}
    text = metric_table(entries, {name: mark(model, name) for name in variants})
    return with_notes(text, [(model, name, model.entries[name]) for name in variants], own_page=True)


def gain_table(model):
    """How much each form of a model gains on the first, a row a number of labels, see misc/labels.py."""
    gained = gains(accuracies(model.entries))
    rows = [[str(n), *("{:+.1f} ± {:.1f}".format(*of[n]) if n in of else "" for of in gained.values())]
            for n in sorted({n for of in gained.values() for n in of}, reverse=True)]
    return table(["labels", *map(plain, gained)], rows) if rows else ""


def labels_table(entry):
    """The accuracy of each form that an entry measured, a row a number of labels, see misc/labels.py."""
    found = curves(entry)
    rows = [[f"{n:,}", *(cell(entry, f"{form}, {n} labels") for form in found)]
            for n in sorted({n for of in found.values() for n in of})]
    return table(["labels", *map(plain, found)], rows)


def runs(model):
    """Every seed of every variant, a column each, with the command and where it ran."""
    texts = []
    for variant, entry in model.entries.items():
        places = [[run["device"], measured.threads(run["threads"]), run.get("precision"),
                   f"torch {run['versions']['torch']}", run["date"],
                   f"commit {run.get('commit') or entry.get('commit') or 'unknown'}"] for run in entry["runs"]]
        where = [", ".join(dict.fromkeys(plain(value) for value in values if value))
                 for values in zip(*places, strict=True)]
        rows = [[plain(heading(name)), *(measured.number(name, value) for value in values["seeds"])]
                for name, values in entry["metrics"].items()]
        rows += [[label, *(f"{run.get(key, 0):,.0f}" for run in entry["runs"])]
                 for label, key in (("updates", "steps"), ("seconds", "seconds")) if key in entry["runs"][0]]
        command = " ".join(entry["command"].replace("`", "'").split())
        typed = f" {measured.TYPED}" if variant in model.earlier else ""
        texts.append(f"**{plain(variant)}**: `{command}`{typed}  \n{'; '.join(filter(None, where))}\n\n"
                     + table(["seed", *map(str, entry["seeds"])], rows))
    return "\n\n".join(texts)


def pictures(page, model):
    """All pictures of a model's headline variant."""
    return floating([f'<img src="{link(file, page)}" alt="{as_html(caption(file))}" width="320"><br>'
                     f"{as_html(caption(file))}" for file in model.pictures(model.head["variant"])], 320, 2)


def variant_table(page, models, variant):
    """A row a model that has this variant."""
    rows, lines = [(model, variant, model.entries[variant]) for model in models if variant in model.entries], []
    for model, _, entry in rows:
        scores, courses = entry["metrics"].get("is", {}).get("seeds"), [run.get("course") for run in entry["runs"]]
        first = next(iter(courses[0][0]["losses"])) if all(courses) else None  # a GAN's: of D
        lines.append([title(model, page, variant, named=False), updates(entry), minutes(entry),
                      *(cell(entry, name) for name in ("fid", "is", "recall")),
                      f"{sum(score < FAILED for score in scores)} of {len(scores)}" if scores else "",
                      f"{plain(first)}: {correlations(courses, first)}" if first else ""])
    heads = ["", "updates", "min", *map(heading, ("fid", "is", "recall")), "failed", "rank correlation of FID and loss"]
    return with_notes(table(heads, lines), rows)


def speed(root):
    """What misc/benchmark.py measured; None, and a warning, where its file is damaged."""
    try:
        result = json.loads((root / "misc" / "results" / "benchmark_cpu.json").read_text("utf-8"))
        products, left, sizes = result["product_gflops"], dict(result["ablation"]), result["batch_sizes"]
        every, whole = left.pop("all on")["median"], "{median:,.0f} ({min:,.0f} to {max:,.0f})"
        both = {"this project": "ours", "the usual way": "usual"}
        return "\n\n".join([
            table(["", "images/s, median (range)", "share of the CPU's matrix-product speed", "first update after",
                   "peak memory"], [
                [name, whole.format(**result["images_per_second"][key]),
                 f"{result['gflops'][key] / max(products.values()):.0%}",
                 f"{result['start'][key]['first_update_s']:.1f} s", f"{result['start'][key]['peak_memory_mb']:,.0f} MB"]
                for name, key in both.items()]),
            f"Median ratio of {len(result['ratio']['pairs'])} pairs: "
            + whole.replace(",.0f", ".2f").format(**result["ratio"])
            + ". Matrix products alone: "
            + ", ".join(f"{value:,.0f} GFLOP/s in {name}" for name, value in products.items())
            + f"; an update takes {result['gflop_per_image']:.2f} GFLOP an image. {plain(result['device'])}, "
            f"{result['cores']} cores, torch {plain(result['versions']['torch'])}, {plain(result['date'])}, batches of "
            f"{result['batch']}: `{result['command']}`",
            table(["switched off", "images/s left"], [
                [plain(name), f"{value['median'] / every:.0%}"]
                for name, value in sorted(left.items(), key=lambda pair: pair[1]["median"])]),
            table(["batch", "images/s", "the usual way", "ratio"], [
                [str(size["batch"]), *(f"{size[key]:,.0f}" for key in ("ours", "usual")),
                 f"{size['ours'] / size['usual']:.1f}"] for size in sizes]),
            table(["processes", "images/s"], [[name, f"{rate:,.0f}"] for name, rate in result["ranks"].items()])])
    except (OSError, ZeroDivisionError, *ODD) as error:
        warn(f"misc/results/benchmark_cpu.json is damaged ({type(error).__name__}: {error})")
        return None


def quality(root):
    """What misc/time_to_quality.py measured; None, and a warning, where its file is damaged."""
    try:
        result = json.loads((root / "misc" / "results" / "time_to_quality.json").read_text("utf-8"))
        least = max(point["minutes"] for point in result["points"]["usual"])
        rows = [[fid, "not reached" if row["ours"] is None else f"{row['ours']:.1f} min",
                 f"not in {least:.0f} min" if row["usual"] is None else f"{row['usual']:.1f} min",
                 "" if row["ratio"] is None else ("> " if row["at_least"] else "") + f"{row['ratio']:.1f}"]
                for fid, row in result["minutes"].items()]
        return table(["FID", "this project", "the usual way", "ratio"], rows) + (
            f"\n\n{plain(result['device'])}, {result['threads']} thread{'s' * (result['threads'] > 1)}, torch "
            f"{plain(result['versions']['torch'])}, {plain(result['date'])}: `{result['command']}`")
    except (OSError, *ODD) as error:
        warn(f"misc/results/time_to_quality.json is damaged ({type(error).__name__}: {error})")
        return None


def blocks(page, root, models, baselines):
    """{name: the function that makes that block} for a page."""
    model = next((model for model in models if model.folder == page.parent), None)
    variants = {name for model in models for name in model.entries}
    return {"strip": lambda: strip(page, models), "models": lambda: tiles(page, models),
            "results": lambda: own_results(model, baselines) if model else overview(page, models, baselines),
            **({"runs": lambda: runs(model), "pictures": lambda: pictures(page, model),
                "gains": lambda: gain_table(model), **{f"labels {name}": lambda entry=entry: labels_table(entry)
                                                      for name, entry in model.entries.items() if curves(entry)}}
               if model else {}),
            "baselines": lambda: metric_table(baselines, {}), "speed": lambda: speed(root),
            "quality": lambda: quality(root),
            **{f"variant {name}": lambda name=name: variant_table(page, models, name) for name in variants}}


# ---- the pages

BEGIN = r"^<!-- (?P<name>[^\n]*?): begin -->\r?\n"
BLOCK = re.compile(rf"(?P<begin>{BEGIN})(?:(?!{BEGIN.replace('?P<name>', '?:')}).)*?^(?P<end><!-- (?P=name): end -->)",
                   re.DOTALL | re.MULTILINE)


def fill(text, makers, where):
    """The text of a page with its blocks made anew. One that nothing makes, or has no end, stays, with a warning."""
    newline = "\r\n" if "\r\n" in text else "\n"

    def made(match):
        block = makers[match["name"]]() if match["name"] in makers else None
        return match[0] if block is None else match["begin"] + f"{block}\n".replace("\n", newline) + match["end"]

    for name in re.findall(BEGIN, text, re.MULTILINE):
        if name not in makers or name not in [match["name"] for match in BLOCK.finditer(text)]:
            warn(f"{where}: nothing fills the block {name!r}, or it has no end")
    return BLOCK.sub(made, text)


def new_page(model, root):
    """The page of a folder that has none."""
    head, first = model.head, measured.told(model.folder).split("\n\n")[0]
    lines = "\n".join(f"{key}: {value}" for key, value in head.items() if value)
    return f"""<!--
{lines}
-->
# {plain(head["title"])}

{plain(first)} {head["paper"]}

```
python {(model.folder / "train.py").relative_to(root).as_posix()}
```

<!-- pictures: begin -->
<!-- pictures: end -->

## Results

<!-- results: begin -->
<!-- results: end -->

<details><summary>Every run</summary>

<!-- runs: begin -->
<!-- runs: end -->

</details>
"""


def pages(root):
    """{path: text} of all that is generated below a folder."""
    models, baselines = measured.read_all(root)
    texts = {}
    for page in sorted({*root.glob("README.md"), *root.glob("[!.]*/README.md"), *root.glob("misc/*/README.md")}):
        try:
            texts[page] = page.read_bytes().decode("utf-8")
        except ValueError:
            warn(f"{page.relative_to(root)} is not UTF-8")
    for model in models:
        if model.entries and not (model.folder / "README.md").exists():
            texts[model.folder / "README.md"] = new_page(model, root)
    texts = {page: fill(text, blocks(page, root, models, baselines), page.relative_to(root))
             for page, text in texts.items()}
    return {**texts, root / "misc" / "gallery.html": gallery(root, models, baselines)}


def current(path, text):
    return path.exists() and path.read_bytes() == text.encode()


def main():
    check, texts = parse(Options).check, pages(ROOT)
    stale = [path for path, text in texts.items() if not current(path, text)]
    if check and stale:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        raise InputError(f"{names}: not current; python misc/tables.py writes them")
    for path in stale:
        with replacing(path) as file:
            file.write_bytes(texts[path].encode())


if __name__ == "__main__":
    with refusing("misc/tables.py"):
        main()
