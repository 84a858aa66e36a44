"""What the models' pages say of them and what was measured, as misc/tables.py and misc/gallery.py show it.

No model's name stands here: what is to be known of one is in the head of its README.md (a comment of `key: value`
lines, see KEYS) and in its results/result.json. Both are shown, never trusted: see `plain` and `as_html`."""

import ast
import html
import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from seeds import code  # noqa: E402

from misc import metrics, scorer  # noqa: E402

# the metrics of all that generates; what else a train.py recorded has its own name
COLUMNS = {"fid": "FID", "is": "IS", "recall": "recall", "kid": "KID", "precision": "precision",
           "class_kl": "KL of classes", "nearest": "nearest", "agreement": "label agreement",
           "class_recall": "recall in a class", "class_spread": "spread in a class", "reading": "1-NN from samples"}
DIGITS = {"fid": 2, "kid": 2, "is": 2, "precision": 3, "recall": 3, "class_kl": 4, "nearest": 2, "agreement": 4,
          "class_recall": 3, "class_spread": 3, "reading": 4}
KEYS = ("title", "group", "idea", "paper", "variant", "figure", "unit", "picture", "reported", "note")
GROUPS = ("Autoencoders", "GANs", "With labels", "Two domains", "Classifiers and more")  # others follow, these last:
YOURS = "Yours"
REAL = "real images"  # the baseline: what a perfect model would reach
TYPED = "(as typed then; defaults may have changed since)"  # behind a command that earlier code was run with
PICTURES = ("process", "samples", "random", "scatter", "manifold", "original", "means", "wrong", "confusion",
            "accuracy", "error", "nats", "losses", "course")  # as they follow each other; others stand behind


@dataclass
class Model:
    """A folder, what is said of it (all KEYS, "" for nothing), its results, {variant: entry of result.json}, and which
    of them earlier code has made."""

    folder: Path
    head: dict
    entries: dict
    earlier: set

    def pictures(self, variant):
        """The files of a variant's pictures, the one that stands for the model first."""
        def place(file):
            known = PICTURES.index(file.stem) if file.stem in PICTURES else len(PICTURES)
            return file.name != self.head["picture"], known, file.name

        files = (self.folder / "results" / variant).glob("*")
        return sorted((file for file in files if file.suffix in (".png", ".gif")), key=place)

    def picture(self):
        """The picture that stands for the model, None where there is none."""
        return next(iter(self.pictures(self.head["variant"])), None)

    def figure(self, variant=None):
        """(metric, entry) by which a variant is judged, the headline variant by default; None where it has none."""
        entry = self.entries.get(variant or self.head["variant"])
        names = list(entry["metrics"]) if entry else []
        name = next((name for name in (self.head["figure"], "fid", *names) if name in names), None)
        return (name, entry) if name else None


def warn(text):
    """Says it on one line of stderr, whatever it quotes."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    print(f"misc/tables.py: warning: {' '.join(shown.split())[:300]}", file=sys.stderr)


def read_head(page):
    """{key: value} of the comment with which a page begins; {} where it cannot be read."""
    try:
        text = page.read_text("utf-8-sig")
    except (OSError, ValueError):
        return {}
    comment = re.match(r"\s*<!--[ \t]*\n(.*?)-->", text, re.DOTALL)
    lines = re.findall(r"^(\w+):[ \t]*(\S.*)", comment[1], re.MULTILINE) if comment else []
    return {key: value.strip() for key, value in lines if key in KEYS}


def told(folder):
    """The docstring of a folder's train.py, "" where there is none."""
    try:
        return ast.get_docstring(ast.parse((folder / "train.py").read_bytes())) or ""
    except (OSError, SyntaxError, ValueError, RecursionError):
        return ""


def first_sentence(text):
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 or value == math.inf


def check(variant, entry):
    """Raises an error, whose text is the reason, where an entry is no result that stands beside the others."""
    def expect(true, reason):
        if not true:
            raise ValueError(reason)

    expect(Path(variant).name == variant and variant.isprintable(), "its name is none of a folder")
    expect(entry["scorer"] == scorer.sha256(scorer.WEIGHTS), "it was scored by another classifier")
    expect(entry["images"] in (0, 10_000), f"it is of {entry['images']} images, not of 10,000")
    runs, seeds = entry["runs"], entry["seeds"]
    expect(seeds and all(isinstance(seed, int) for seed in seeds) and len(runs) == len(seeds), "seeds are missing")
    losses = next((list(run["course"][0]["losses"]) for run in runs if run.get("course")), [])
    for run in runs:
        expect(run.get("dataset", "mnist") == "mnist", f"it is of {run.get('dataset')}, not of mnist")
        expect(not run.get("holdout"), "it was held against --holdout images")
        expect(isinstance(run["device"], str) and isinstance(run["versions"]["torch"], str), "no device or torch")
        expect(isinstance(run["date"], str) and isinstance(run["threads"], int), "no date or threads")
        expect(all(is_number(run.get(name, 0)) for name in ("steps", "seconds")), "steps or seconds are no numbers")
        for point in run.get("course", []):
            expect(all(map(is_number, [point["fid"], *point["losses"].values()])), "its course is no numbers")
            expect(losses and list(point["losses"]) == losses, "its course is of several losses")
    expect(entry["metrics"], "nothing was measured")
    for name, value in entry["metrics"].items():
        numbers = [value["mean"], *value["seeds"], *([] if value["std"] is None else [value["std"]])]
        expect(len(value["seeds"]) == len(seeds) and all(map(is_number, numbers)), f"{name} is no number")
    expect(isinstance(entry["command"], str), "its command is no text")
    expect("minutes" not in entry or is_number(entry["minutes"]["minutes"] + entry["minutes"]["threads"])
           and isinstance(entry["minutes"]["device"], str), "its minutes are no number")


ODD = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError)


def read_results(folder, root):
    """{variant: entry} of a folder's result.json that can be shown; one warning for each other, {} without a file."""
    file, entries = folder / "results" / "result.json", {}
    where = file.relative_to(root)
    try:
        content = dict(json.loads(file.read_text("utf-8")).items())
    except FileNotFoundError:
        return {}
    except (OSError, *ODD) as error:
        warn(f"{where} is skipped: it is damaged ({error})")
        return {}
    for variant, entry in content.items():
        try:
            check(variant, entry)
            entries[variant] = entry
        except ODD as error:
            reason = str(error) if type(error) is ValueError else f"it is damaged ({type(error).__name__}: {error})"
            warn(f"{where}: {variant!r} is skipped: {reason}")
    return entries


def read_model(folder, root):
    """The Model of a folder; None of one that has neither a head nor results."""
    head, entries = read_head(folder / "README.md"), read_results(folder, root)
    if not head and not entries:
        return None
    try:
        now = code(folder)
    except (OSError, SyntaxError, ValueError, RecursionError):
        now = None
    said = told(folder)
    arxiv = re.search(r"arXiv:?\s*(\d{4}\.\d{4,5})", said, re.IGNORECASE)
    defaults = {"title": folder.name, "group": YOURS, "idea": first_sentence(said),
                "paper": f"[arXiv {arxiv[1]}](https://arxiv.org/abs/{arxiv[1]})" if arxiv else ""}
    defaults = {key: " ".join(value.replace("-->", "").split()) for key, value in defaults.items()}
    model = Model(folder, {**dict.fromkeys(KEYS, ""), **defaults, **head}, entries,
                  {variant for variant, entry in entries.items() if entry.get("code") != now or now is None})
    if model.head["variant"] not in entries:
        model.head["variant"] = next((name for name in ("default", *entries) if name in entries), "default")
    model.head["figure"] = (model.figure() or ("fid",))[0]
    model.head["picture"] = getattr(model.picture(), "name", "")
    return model


def higher_is_better(name):
    """Whether a metric's name says so: one of ours, or a model's own accuracy."""
    ends = ("label kept", "one label", "F1", "IoU", ": recall")
    return name in metrics.HIGHER_IS_BETTER or "accuracy" in name or name.endswith(ends)


def quality(name, entry):
    """A key to sort by: by metric, FID first, then the best first, and last what is not finite."""
    mean = entry["metrics"][name]["mean"]
    mean = -mean if higher_is_better(name) else mean
    return name != "fid", name, mean if math.isfinite(mean) else math.inf


def place(model):
    """A key to sort models by: by group, then the best first, last those without results."""
    group = model.head["group"]
    known = GROUPS.index(group) if group in GROUPS else len(GROUPS) + (group == YOURS)
    return known, group, *(quality(*model.figure()) if model.figure() else (2, "", 0)), model.head["title"]


def read_all(root):
    """([Model, ...] by group and quality, {baseline: entry}, real images first)."""
    folders = [folder for pattern in ("*/", "misc/*/") for folder in sorted(root.glob(pattern))]
    models = [read_model(folder, root) for folder in folders
              if folder != root / "misc" and not folder.name.startswith(".")]
    baselines = read_results(root / "misc", root)
    return (sorted((model for model in models if model), key=place),
            {name: baselines[name] for name in sorted(baselines, key=lambda name: name != REAL)})


# ---- as text

def plain(text):
    """Text on one line that Markdown shows as it is: it makes no table, link or tag."""
    return re.sub(r"([\\`*_\[\]|~$])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def with_links(text):
    """A head's text for a Markdown page: links stay links, tags and tables are none."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")


def as_html(text):
    """A head's text as HTML: its Markdown links to the web are links, all else is text."""
    target = r"https?://[^\s()]*(?:\([^\s()]*\)[^\s()]*)*"
    return re.sub(rf"\[([^\[\]]*)\]\(({target})\)", r'<a href="\2">\1</a>', html.escape(" ".join(text.split())))


def heading(name):
    """What a metric is called, with an arrow where it is known which way is better."""
    lower = name in ("fid", "kid", "class_kl") or name.startswith("-") or name.endswith(("error", "FID"))
    return COLUMNS.get(name, name) + (" ↑" if higher_is_better(name) else " ↓" if lower else "")


def number(name, value):
    """A metric's value with the digits that it is shown with: four that count where nothing else is said."""
    size = abs(value) or 1
    counting = max(0, 3 - math.floor(math.log10(size))) if math.isfinite(size) else 0
    return f"{value:.{DIGITS.get(name, min(counting, 9))}f}"


def generates(entry):
    return bool(entry["metrics"].keys() & COLUMNS.keys())


def cell(entry, name):
    """Mean ± spread of a metric, or nothing."""
    value = entry["metrics"].get(name)
    if value is None:
        return ""
    mean = number(name, value["mean"])
    digits = len(mean.partition(".")[2])
    return mean + (f" ± {value['std']:.{digits}f}" if value["std"] is not None else "")


def minutes(entry):
    """The minutes that a training takes, as text; nothing where that was not measured."""
    value = entry.get("minutes", {}).get("minutes")
    return "" if value is None else f"{value:.0f}" if value >= 9.5 else f"{value:.1f}"


def updates(entry):
    """The updates of a training, as text; nothing where there were none."""
    return f"{entry['runs'][0]['steps']:,}" if "steps" in entry["runs"][0] else ""


def notes(rows, own_page=False):
    """The lines below what shows rows, [(model, variant, entry), ...], with None as a baseline's model. Only a model's
    own page names commits."""
    lines, times, commits = [], [entry["minutes"] for *_, entry in rows if "minutes" in entry], {}
    for model, variant, entry in rows:
        if model and variant in model.earlier:
            commits.setdefault(str(entry.get("commit") or "unknown"), []).append(variant)
    if commits:
        named = ", ".join(f"commit {commit} ({', '.join(variants)})" for commit, variants in commits.items())
        lines.append("† measured with an earlier version of the code"
                     + (f": {named}" if own_page else "; the model's page names the commit"))
    if times:
        places = dict.fromkeys(f"{time['device']}, {threads(time['threads'])}" for time in times)
        lines.append(f"min: minutes of training, with nothing else on the machine ({'; '.join(places)})")
    return lines


def threads(n):
    return f"{n} thread{'s' * (n != 1)}"
