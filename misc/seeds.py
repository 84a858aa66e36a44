"""Trains, generates and evaluates a model over several seeds:    python misc/seeds.py GAN --seeds 0 1 2 -- --epochs 20

What follows `--` goes to train.py. Mean, spread (sample standard deviation) and every seed go to
<Model>/results/result.json, under the name of --variant, the pictures of the first seed to <Model>/results/<variant>/:
this script alone writes there. What is done is not done again: after an interruption the same command goes on where it
was. With --every training is cut into pieces, which an exact resume makes the same as in one go, and FID and IS are
measured after each, for misc/course.py to draw. With --minutes a tenth of a training is timed instead. `python
misc/seeds.py baselines` scores those of misc/baselines.py."""

import ast
import datetime
import hashlib
import inspect
import json
import math
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NotRequired

import tyro
from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from baselines import BASELINES  # noqa: E402
from evaluate import DIGITS, floor, references  # noqa: E402
from generate import brought_back, generate  # noqa: E402

from common import NonNegative, Whole, data  # noqa: E402
from common.files import lock, writable_folder  # noqa: E402
from common.log import environment, say, write_json  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import InputError, first_problem, parse, refusing  # noqa: E402
from misc import metrics, scorer, translations  # noqa: E402
from misc.places import find_checkpoint, find_folder  # noqa: E402

COURSE = 2_000  # images drawn and measured for each point of --every
TAKEN = ("--seed", "--out-dir", "--data-dir", "--resume", "--help", "-h")  # flags of train.py that are given here


@dataclass
class Options:
    """Trains, generates and evaluates a model over several seeds."""

    model: tyro.conf.Positional[str]  # the model's folder, for instance GAN, or: baselines
    seeds: tuple[int, ...] = (0, 1, 2)  # of training and of sampling
    variant: str = "default"  # the name of these settings in result.json
    n: Whole = 10_000  # images drawn and measured for each seed; 0: none, only what the training itself measures
    every: NonNegative = 0.0  # measure also after each so many epochs (0.5: twice in one), with 2,000 images; 0: not
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    pictures: tuple[str, ...] = ()  # those of the first seed that are kept, say: process samples scatter; default: all
    minutes: bool = False  # time a tenth of a training, with nothing else on the machine, and note its minutes
    fresh: bool = False  # do again what is done, and keep what was there in a subfolder previous of each seed's folder


strict = ConfigDict(strict=True, extra="allow")
Numbers = dict[str, float]


class Training(TypedDict):
    """What this script keeps of a training in training.json."""

    __pydantic_config__ = strict

    date: str
    commit: str | None
    results: Numbers
    steps: int
    seconds: float


class Baseline(TypedDict):
    __pydantic_config__ = strict

    metrics: Numbers
    run: dict[str, Any]


class Point(TypedDict):
    __pydantic_config__ = strict

    epoch: float
    updates: int
    losses: Numbers


class Course(TypedDict):
    __pydantic_config__ = strict

    points: list[Point]


class Entry(TypedDict):
    """What it reads of a variant's entry in result.json."""

    __pydantic_config__ = strict

    seeds: list[int]
    minutes: NotRequired[dict[str, Any]]


def has_checkpoint(work):
    return any(work.glob("checkpoints/**/checkpoint.pt"))


def run_record(work):
    """The run.json of the training in a folder."""
    return json.loads(next(work.glob("samples/**/run.json")).read_text("utf-8"))


def train(folder, work, flags, until=None):
    """Runs the folder's train.py, in this process, into `work`, up to update `until`, on from its checkpoint where
    there is one. Returns its run.json.

    Ends this process as train.py ended, where that did not train to the end."""
    argv = sys.argv
    sys.argv = [str(folder / "train.py"), "--out-dir", str(work), *flags,
                *(["--max-steps", str(until)] if until else []), *(["--resume"] if has_checkpoint(work) else [])]
    try:
        load_file(folder / "train.py").main()
    except SystemExit as stop:
        if stop.code == 2 and not has_checkpoint(work):  # flags that it refused bind nobody
            (work / "training.json").unlink(missing_ok=True)
        if stop.code not in (1, 2):
            say(f"seeds: stopped at {work}; the same command, without --fresh, goes on from there")
        raise
    finally:
        sys.argv = argv
    run = run_record(work)
    if run["steps"] < run["of"]:
        raise InputError(f"{work}: the training ended after {run['steps']} of {run['of']} updates")
    return run


def read(path, form):
    """The JSON object in a file, of a form (a type), {} where there is no file. Raises InputError where it is something
    else."""
    try:
        return TypeAdapter(form).validate_python(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        place, problem = first_problem(error)
        raise InputError(f"{path} is damaged ({'.'.join(map(str, place))}: {problem}); move it away") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); move it away") from None


def read_kept(work, name, form):
    """What `kept` wrote to <work>/<name>.json, with "made" of that form where it is done; {} where there is no file."""
    class Kept(TypedDict):
        __pydantic_config__ = strict

        asked: dict[str, Any]
        made: NotRequired[form]

    return read(work / f"{name}.json", Kept)


def code(folder):
    """A hash of what the model's files do: of their syntax trees, without docstrings and diagram."""
    def plain(node):  # ast.dump differs between versions of Python, which have other empty fields
        if isinstance(node, ast.AST):
            fields = [(name, plain(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
            return [type(node).__name__, *fields]
        return [plain(item) for item in node] if isinstance(node, list) else repr(node)

    digest = hashlib.sha256()
    for name in ("model.py", "train.py", "figures.py"):
        tree = ast.parse((folder / name).read_text("utf-8") if (folder / name).exists() else "")
        tree.body = [node for node in tree.body if getattr(node, "name", "") != "diagram"]
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        digest.update(repr(plain(tree)).encode())
    return digest.hexdigest()[:16]


def commit():
    """The commit that is checked out, with "-dirty" where its code was changed; None where git does not know."""
    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", "*.py") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def kept(work, name, form, asked, make, renew=False):
    """What make() returns, a dict, kept in <work>/<name>.json: done once for what is asked (a plain dict).

    What is asked is kept before it is done. Where the folder holds work on another question it is done anew (renew), or
    InputError raised."""
    before = read_kept(work, name, form)
    if renew and before.get("asked") != asked:
        before = {}
    if before and before["asked"] != asked:
        changed = ", ".join(key for key in asked | before["asked"] if asked.get(key) != before["asked"].get(key))
        raise InputError(f"{work} holds results of other settings ({changed}); give another --variant, or --fresh")
    if "made" not in before:
        write_json(work / f"{name}.json", {"asked": asked})
        before = {"asked": asked, "made": make()}
        write_json(work / f"{name}.json", before)
    return before["made"]


def measuring(opt):
    """What a measurement depends on beside the images."""
    return {"n": opt.n, "scorer": scorer.sha256(scorer.WEIGHTS)}


def made_now():
    return {"date": datetime.date.today().isoformat(),
            **{key: value for key, value in environment().items() if key != "command"}}


def words(flags):
    """The flags of train.py with --name=value in two."""
    return [word for flag in flags for word in flag.split("=", 1)]


def with_data(flags, opt):
    """The flags of train.py with the place of the data sets, where one was given."""
    return [*flags, *(["--data-dir", str(opt.data_dir)] if opt.data_dir else [])]


def course(folder, work, seed, opt, flags):
    """Trains, and measures after each opt.every epochs and at the end: [{"epoch", "updates", "seconds", "fid", "is",
    "losses": the mean of each since the point before}, ...]."""
    points, real, flags = read(work / "course.json", Course).get("points", []), None, ["--seed", str(seed), *flags]
    if not has_checkpoint(work):
        train(folder, work, flags, until=1)
    whole = run_record(work)
    per_epoch, epochs = whole["per_epoch"], whole["options"]["epochs"]
    for epoch in [*(opt.every * i for i in range(1, math.ceil(epochs / opt.every))), epochs][len(points):]:
        run = train(folder, work, flags, until=round(epoch * per_epoch))
        images, _, state = generate(folder, find_checkpoint(work), min(opt.n, COURSE), seed)
        if real is None:
            real, _ = scorer.score(references(state["options"], data.data_dir(opt.data_dir))[1].images)
        features, logits = scorer.score(images)
        since, losses = points[-1]["updates"] if points else 0, state["losses"]
        means = losses["values"][since:].double().mean(0).tolist()
        points.append({"epoch": epoch, "updates": run["steps"], "seconds": run["seconds"],
                       "fid": metrics.fid(real, features), "is": metrics.inception_score(logits),
                       "losses": dict(zip(losses["names"], means, strict=True))})
        write_json(work / "course.json", {"points": points})
    return points


def minutes(folder, seed, opt, flags):
    """How long a training takes, from the first tenth of one: {"minutes", "threads", "device", "date"}."""
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        given = ["--seed", str(seed), *with_data(flags, opt)]
        first = train(folder, work, given, until=1)
        whole = first["per_epoch"] * first["options"]["epochs"]
        run = train(folder, work, given, until=max(2, whole // 10))
        seconds = (run["seconds"] - first["seconds"]) / (run["steps"] - 1) * whole
    return {"minutes": seconds / 60, "threads": run["threads"], "device": run["device"],
            "date": datetime.date.today().isoformat()}


def publish(folder, variant, work, names):
    """Copies the pictures of a seed to results/<variant>/: all, or those of these names; `samples` is the last grid."""
    samples = next(work.glob("samples/**/run.json")).parent
    last = sorted(samples.glob("epoch_*.png"))[-1:]
    pictures = {"samples": last[0]} if last else {}
    pictures |= {file.stem: file for file in sorted(samples.iterdir()) if file.suffix in (".png", ".gif")
                 and file.stem not in ("real", "real_b") and not file.stem.startswith(("epoch_", "step_"))}
    if unknown := set(names) - pictures.keys():
        raise InputError(f"--pictures: there is no {', '.join(sorted(unknown))}, only {', '.join(pictures)}")
    place = folder / "results" / variant
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in names or pictures:
        shutil.copy(pictures[name], place / f"{name}{pictures[name].suffix}")


def one_seed(folder, work, seed, opt, flags):
    """Trains, generates and measures. Returns {"metrics", "run"}, plain data."""
    def trained():
        given = with_data(flags, opt)
        points = course(folder, work, seed, opt, given) if opt.every else []
        run = train(folder, work, ["--seed", str(seed), *given])
        return {"date": datetime.date.today().isoformat(), "commit": commit(), "precision": run["options"]["precision"],
                "holdout": run["options"]["holdout"], "results": run.get("results", {}),
                **({"course": points} if points else {}),
                **{key: run[key] for key in ("dataset", "steps", "seconds", "device", "threads", "versions")}}

    def scored():
        model, root = load_file(folder / "model.py"), data.data_dir(opt.data_dir)
        if not opt.n or not hasattr(model, "sample"):
            return translations.measured(folder, find_checkpoint(work), root, seed) if opt.n and hasattr(
                model, "translate") else {}
        images, labels, state = generate(folder, find_checkpoint(work), opt.n, seed,
                                         labels=lambda options: references(options, root)[1].labels)
        known, test = references(state["options"], root)
        found = metrics.measure(images, test.images, known.images, labels, test.labels)
        if "domain" in inspect.signature(model.sample).parameters:
            others = generate(folder, find_checkpoint(work), opt.n, seed, domain="b")[0]
            pair = translations.pairs(state["options"], False, root)[0]
            found["pairs of one label"] = translations.one_label(images, others, pair, seed)
        back = brought_back(folder, find_checkpoint(work), test.images)
        return found if back is None else {**found, **metrics.measure_back(back, test.images)}

    asked = {"flags": flags, "code": code(folder), **({"every": opt.every} if opt.every else {})}
    run = kept(work, "training", Training, asked, trained)
    measured = kept(work, "metrics", Numbers, measuring(opt), scored, renew=True)
    return {"metrics": {**run.pop("results"), **measured}, "run": run}


def one_baseline(work, name, seed, opt):
    """Measures a baseline. Returns what `one_seed` does."""
    def scored():
        known, test = references({}, data.data_dir(opt.data_dir))
        if BASELINES[name] is None:
            return {"metrics": floor(known, test, opt.n, seed), "run": made_now()}
        images = BASELINES[name](known.images, opt.n, seed)
        return {"metrics": metrics.measure(images, test.images, known.images), "run": made_now()}

    return kept(work, "metrics", Baseline, measuring(opt), scored, renew=True)


def summary(results):
    """{metric: {"mean", "seeds", "std" (of the sample; None of one seed or an infinite one)}} of [{metric: number}]."""
    return {name: {"mean": statistics.mean(values), "seeds": values,
                   "std": statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None}
            for name in results[0] for values in [[result[name] for result in results]]}


def record(path, variant, results, opt, command, **more):
    """Writes a variant's entry into a result.json, and leaves the other variants alone. Where seeds are lost by that,
    the file as it was is kept as result.json.previous."""
    before = read(path, dict[str, Entry])
    earlier = before.get(variant, {})
    if set(earlier.get("seeds", [])) - set(opt.seeds):
        write_json(path.with_name("result.json.previous"), before)
    if earlier.get("code") == more.get("code") and "minutes" in earlier:
        more["minutes"] = earlier["minutes"]
    entry = {"metrics": summary([result["metrics"] for result in results]), "seeds": list(opt.seeds), "images": opt.n,
             "scorer": scorer.sha256(scorer.WEIGHTS), "command": command,
             "runs": [result["run"] for result in results],
             "commit": results[0]["run"].get("commit") or commit(), **more}
    write_json(path, {**before, variant: entry})


def check(opt, flags):
    """Raises InputError, before any work, on what could only fail after it."""
    if not re.fullmatch(r"\w[\w .,+=-]*", opt.variant):  # a folder is named after it
        raise InputError(f"--variant: letters, digits, spaces and .,+=- only, not {opt.variant}")
    if 0 < opt.n < 10 or not opt.n and (opt.every or opt.model == "baselines"):
        raise InputError(f"--n: {opt.n} images are too few to be measured")
    if not opt.seeds or len(set(opt.seeds)) < len(opt.seeds) or not all(0 <= seed < 2**32 for seed in opt.seeds):
        raise InputError("--seeds: one or more different numbers from 0 on")
    if 0 < opt.every < 0.1:
        raise InputError(f"--every: 0, or 0.1 and more, not {opt.every}")
    if opt.model == "baselines" and (flags or opt.every or opt.minutes or opt.variant != "default"):
        raise InputError("baselines are not trained: they take no --variant, no --every, no --minutes and no flags")
    given = {word.replace("_", "-"): value for word, value in pairwise([*words(flags), ""])}
    if (opt.every or opt.minutes) and "--max-steps" in given:
        raise InputError("--max-steps: not with --every or --minutes, which cut the training themselves")
    for word, value in given.items():
        if word in TAKEN:
            raise InputError(f"{word}: not to be given after --, misc/seeds.py gives it")
        if word == "--dataset" and value not in ("auto", *DIGITS):
            raise InputError(f"--dataset: the classifier that scores knows {', '.join(DIGITS)}, not {value}")
        if word == "--image-size" and value != "32":
            raise InputError(f"--image-size: the classifier that scores knows images of 32 x 32, not {value}")


def work_of(folder, variant, seed):
    """Where a seed is trained."""
    return folder / "checkpoints" / "seeds" / variant.replace(" ", "_") / str(seed)


def put_aside(work):
    """Moves what was done in a folder into its subfolder previous, in the place of what was there.

    A run that was refused has left empty folders at most: then there is nothing to move."""
    if not has_checkpoint(work) and not any(work.glob("*.json")):
        return
    shutil.rmtree(work / "previous", ignore_errors=True)
    (work / "previous").mkdir()
    for part in (*work.glob("*.json"), *(work / name for name in ("checkpoints", "samples", "logs"))):
        if part.exists():
            part.replace(work / "previous" / part.name)


def main():
    args = sys.argv[1:]
    cut = args.index("--") if "--" in args else len(args)
    opt, flags = parse(Options, args=args[:cut]), args[cut + 1:]
    check(opt, flags)
    baselines = opt.model == "baselines"
    folder = ROOT / "misc" if baselines else find_folder(opt.model)
    if opt.every and not hasattr(load_file(folder / "model.py"), "sample"):
        raise InputError(f"--every: {folder.name} makes no images")
    result = writable_folder(folder / "results", "MODEL") / "result.json"
    entries = read(result, dict[str, Entry])  # a damaged file is told before hours of work
    if opt.minutes:
        if opt.variant not in entries:
            raise InputError(f"--minutes: {result} has no {opt.variant} yet")
        entries[opt.variant]["minutes"] = took = minutes(folder, opt.seeds[0], opt, flags)
        write_json(result, entries)
        return say(f"{opt.variant}: {took['minutes']:.1f} minutes")
    for variant in () if opt.fresh else BASELINES if baselines else (opt.variant,):
        for work in (work_of(folder, variant, seed) for seed in opt.seeds):
            read_kept(work, "training", Training)
            read_kept(work, "metrics", Baseline if baselines else Numbers)
            read(work / "course.json", Course)
    command = shlex.join(["python", *sys.argv])
    for variant in BASELINES if baselines else (opt.variant,):
        results = []
        for seed in opt.seeds:
            work = work_of(folder, variant, seed)
            held = lock(writable_folder(work, "--variant"), "--variant")
            if opt.fresh:
                put_aside(work)
            results.append(one_baseline(work, variant, seed, opt) if baselines else
                           one_seed(folder, work, seed, opt, flags))
            held.release()
            say(f"{variant}, seed {seed}: " + "  ".join(f"{k} {v:.4g}" for k, v in results[-1]["metrics"].items()))
        if not baselines:
            publish(folder, variant, work_of(folder, variant, opt.seeds[0]), opt.pictures)
        record(result, variant, results, opt, command, **({} if baselines else {"code": code(folder)}))
    say(f"see {result}")


if __name__ == "__main__":
    with refusing("misc/seeds.py"):
        main()
