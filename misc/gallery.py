"""The page misc/gallery.html: every model's pictures, which lie beside it, and a table of all results to sort.
misc/tables.py writes it."""

from html import escape
from urllib.parse import quote

from measured import COLUMNS, TYPED, as_html, cell, generates, heading, minutes, notes, place, quality

CAPTIONS = {"process": "during training", "samples": "at the end", "random": "random samples", "scatter": "codes of "
            "test images", "manifold": "a decoded grid of codes", "original": "test images", "means": "mean images, "
            "each beside its reconstruction", "wrong": "the most confident errors", "confusion": "confusion matrix",
            "error": "reconstruction error", "course": "FID and losses"}
GLOSSARY = {
    "FID": "distance of the generated images from real ones, in the features of a digit classifier",
    "KID": "another such distance, unbiased: 0 where both are alike",
    "IS": "inception score, 1 to 10: digits that can be told, and all ten of them",
    "precision": "share of generated images that look like real ones (1 also where all are the same good one)",
    "recall": "share of real images that the generated ones come near to",
    "KL of classes": "how unevenly the ten digits are drawn: 0 is even, 2.3 is one digit alone",
    "nearest": "distance to the nearest training image; far below that of real images: learnt by heart",
    "label agreement": "share of images that show the digit asked for",
    "recall in a class": "recall among the images of one digit, the mean of the ten",
    "spread in a class": "how far two images of one digit lie apart, beside two real ones: 1 is as varied",
    "1-NN from samples": "accuracy on real test images of a classifier that knows nothing but generated ones",
    "min": "minutes of training, where it was timed with nothing else on the machine",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1250px; margin: 0 auto; padding: 1rem; }
h1, h2, h3, p { margin: 0 0 .6rem; } h2 { margin-top: 2.5rem; } section { margin-top: 2rem; }
a { color: LinkText; text-decoration-thickness: 1px; }
img { display: block; width: 100%; height: auto; background: #fff; border-radius: 4px; }
.tiles, .pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(45%, 220px), 1fr)); }
.tile { border: 1px solid var(--line); border-radius: 6px; padding: .7rem; color: inherit; text-decoration: none; }
.tile img, .pictures img { aspect-ratio: 1; object-fit: contain; margin-bottom: .5rem; }
.pictures { grid-template-columns: repeat(auto-fill, minmax(min(100%, 280px), 1fr)); align-items: start; }
figure { margin: 0; } figure img { border: 1px solid var(--line); }
figcaption, small, .note { font-size: .9rem; opacity: .8; } code { overflow-wrap: anywhere; font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { position: sticky; left: 0; background: Canvas; }
th:first-child, td:first-child, td:nth-child(2), th:nth-child(2) { text-align: left; }
th button { font: inherit; font-weight: 600; background: none; border: 0; color: inherit; padding: .3rem 0; }
th[aria-sort=ascending] button::before { content: "▲ "; } th[aria-sort=descending] button::before { content: "▼ "; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; font-size: .9rem; }
dt { font-weight: 600; } dd { margin: 0; }
@media (max-width: 600px) {
  td:first-child, th:first-child { white-space: normal; width: 7rem; min-width: 7rem; }
  td:nth-child(2), th:nth-child(2) { display: none; }
  dl { display: block; } dd { margin-bottom: .4rem; }
}
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
    const order = i > 1 ? key(a) - key(b) : key(a).localeCompare(key(b));
    return up ? order : -order;
  }).forEach(row => body.append(row));
});
"""


def caption(file):
    """What a picture shows."""
    return CAPTIONS.get(file.stem, file.stem.replace("_", " "))


def image(file, root, alt):
    return f'<img src="../{quote(file.relative_to(root).as_posix())}" alt="{escape(alt)}" loading="lazy">'


def values(model, variant, names, unit=""):
    """Metrics of a variant as one reads them, with † where earlier code has made them, as HTML."""
    entry = model.entries[variant]
    said = ", ".join(f"{heading(name)} {cell(entry, name)}" for name in names)
    return escape(f"{said} {unit}".strip()) + " †" * (variant in model.earlier)


def tile(model, root):
    """A model's picture, name, sentence and figure, linked to its section."""
    picture, judged, title = model.picture(), model.figure(), model.head["title"]
    shown = values(model, model.head["variant"], judged[:1], model.head["unit"]) if judged else "not measured yet"
    return (f'<a class="tile" href="#{quote(model.folder.name)}">{image(picture, root, title) if picture else ""}'
            f"<b>{escape(title)}</b><br>"
            f"<small>{shown}</small></a>")


def section(model, root):
    """All of a model: its headline variant with all pictures, each further one with two."""
    title, lines, figures = model.head["title"], [], []
    headline = model.head["variant"]
    for variant in dict.fromkeys([headline, *model.entries]):
        whole = variant == headline
        for file in model.pictures(variant)[:None if whole else 2]:
            text = f"{variant}: {caption(file)}" if len(model.entries) > 1 else caption(file)
            figures.append(f"<figure>{image(file, root, f'{title}, {text}')}<figcaption>{escape(text)}</figcaption>"
                           "</figure>")
        if entry := model.entries.get(variant):
            lines.append(f"<p><b>{escape(variant)}</b>: {values(model, variant, entry['metrics'])}<br>"
                         f"<code>{escape(entry['command'])}</code>"
                         f"{f' {TYPED}' if variant in model.earlier else ''}</p>")
    said = [as_html(model.head[key]) for key in ("note", "paper") if model.head[key]]
    said += [f"reported: {as_html(model.head['reported'])}"] if model.head["reported"] else []
    return (f'<section id="{escape(model.folder.name)}"><h3>'
            f'<a href="../{quote(model.folder.relative_to(root).as_posix())}/README.md">{escape(title)}</a></h3>'
            f'<p>{as_html(model.head["idea"])}</p><p class="note">{"; ".join(said)}</p>'
            f'<div class="pictures">{"".join(figures)}</div>'
            f'<details><summary>all figures and commands</summary>{"".join(lines)}</details></section>')


def results(models, baselines):
    """The table of all that generates: the baselines, then by group the best first."""
    rows = [(place(model)[:2], quality(model.figure(variant)[0], entry), model.head["group"], model, variant, entry)
            for model in models for variant, entry in model.entries.items() if generates(entry)]
    rows = [("Baselines", None, name, entry) for name, entry in baselines.items()] + [
        row[2:] for row in sorted(rows, key=lambda row: row[:2])]
    names = [name for name in COLUMNS if any(name in entry["metrics"] for *_, entry in rows)]

    def data(value, shown=None):
        return f'<td data-value="{escape(str(value))}">{escape(str(value)) if shown is None else shown}</td>'

    lines = []
    for group, model, variant, entry in rows:
        name = variant
        if model:
            name = model.head["title"] + ("" if variant == "default" else f", {variant}")
        mark = " †" if model and variant in model.earlier else ""
        link = f'<a href="#{quote(model.folder.name)}">{escape(name)}</a>{mark}' if model else escape(name)
        cells = [data(name, link), data(group)]
        cells += [data(entry["metrics"].get(key, {}).get("mean", ""), cell(entry, key)) for key in names]
        lines.append(f"<tr>{''.join(cells)}{data(minutes(entry))}</tr>")
    heads = ["model", "group", *map(heading, names), "min"]
    return ('<div class="wide"><table><thead><tr>'
            + "".join(f'<th{" data-first=down" * ("↑" in text)}><button>{text}</button></th>' for text in heads)
            + f"</tr></thead><tbody>\n{chr(10).join(lines)}\n</tbody></table></div>"
            + "".join(f'<p class="note">{escape(note)}</p>' for note in notes([row[1:] for row in rows])))


def gallery(root, models, baselines):
    """The page as text."""
    groups = dict.fromkeys(model.head["group"] for model in models)
    parts = {group: [model for model in models if model.head["group"] == group] for group in groups}
    tiles = "\n".join(f'<h2>{escape(group)}</h2><div class="tiles">{"".join(tile(model, root) for model in part)}</div>'
                      for group, part in parts.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Fun with MNIST</title><style>{STYLE}</style></head><body>
<h1>Fun with MNIST</h1>
<p>Every model by one protocol: 10,000 generated images of each seed against the 10,000 test images of MNIST, mean ±
standard deviation of the seeds. Read every row beside that of the real images.</p>
{tiles}
<h2>All that generates</h2>
<p>A column's title sorts.</p>
{results(models, baselines)}
<dl>{"".join(f"<dt>{word}</dt><dd>{text}</dd>" for word, text in GLOSSARY.items())}</dl>
<h2>All pictures</h2>
{chr(10).join(section(model, root) for model in models)}
<script>{SCRIPT}</script></body></html>
"""
