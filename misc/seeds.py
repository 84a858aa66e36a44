"""Trains, generates and evaluates a model over several seeds:    python misc/seeds.py GAN --seeds 0 1 2 -- --epochs 20

What follows `--` goes to train.py. Mean, spread (sample standard deviation) and every seed go to
<Model>/samples/result.json, which this script alone writes, under the name of --variant. What is done is not done
again: after an interruption the same command goes on where it was. `python misc/seeds.py baselines` scores those of
misc/baselines.py instead."""

import datetime
import json
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from baselines import BASELINES  # noqa: E402
from evaluate import floor, references  # noqa: E402
from generate import generate  # noqa: E402

from common import Count, Whole, acceleration, data, metrics, scorer  # noqa: E402
from common.files import lock, replacing, writable_folder  # noqa: E402
from common.log import environment, say  # noqa: E402
from common.models import find_folder  # noqa: E402
from common.options import InputError, parse, refusing  # noqa: E402


@dataclass
class Options:
    """Trains, generates and evaluates a model over several seeds."""

    model: tyro.conf.Positional[Path]  # the model's folder, for instance GAN, or: baselines
    seeds: tuple[Whole, ...] = (0, 1, 2)  # of training and of sampling
    variant: str = "default"  # the name of these settings in result.json
    n: Count = 10_000  # images drawn and measured for each seed
    data_dir: Path | None = None  # where the data sets lie; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    fresh: bool = False  # do again what is done


def train(folder, work, flags):
    """Runs the folder's train.py into `work`, on from its checkpoint where there is one. Returns its run.json.

    Ends this process as train.py ended, where that did not train to the end."""
    command = [sys.executable, str(folder / "train.py"), "--out-dir", str(work), *flags]
    if (work / "checkpoints" / "checkpoint.pt").exists():
        command.append("--resume")
    child = subprocess.Popen(command)
    handlers = {number: signal.signal(number, lambda number, _: child.send_signal(number))
                for number in (signal.SIGINT, signal.SIGTERM)}
    status = child.wait()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    record = work / "samples" / "run.json"
    run = json.loads(record.read_text()) if status == 0 and record.exists() else {}
    if status or run["steps"] < run["of"]:
        say(f"seeds: stopped at {work}; the same command goes on from there")
        raise SystemExit(status or 130)
    return run


def read(path):
    """The JSON object in a file, {} where there is no file. Raises InputError where it is something else."""
    try:
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("no object")
        return content
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); move it away") from None


def write(path, content):
    with replacing(path) as file:
        file.write_text(json.dumps(content, indent=1) + "\n")


def measured(work, asked, make):
    """What make() returns, kept in <work>/metrics.json: done once for what is asked (a plain dict).

    Raises InputError where the file answers another question."""
    done = read(work / "metrics.json")
    if done and done.get("asked") != asked:
        raise InputError(f"{work} holds the result of other options ({done.get('asked')}); give another --variant, or "
                         "--fresh to do it again")
    if not done:
        done = {"asked": asked, **make()}
        write(work / "metrics.json", done)
    return done


def one_seed(folder, work, seed, opt, flags):
    """Trains, generates and measures. Returns {"metrics", "train_seconds", "run"}."""
    def make():
        run = train(folder, work, ["--seed", str(seed), *flags])
        images, labels, state = generate(folder, work / "checkpoints" / "checkpoint.pt", opt.n, seed,
                                         device=acceleration.find_device("auto").type)
        options = state["options"]
        train_images, test = references(options["dataset"], data.data_dir(opt.data_dir), options["image_size"])
        kept = {key: run[key] for key in ("dataset", "steps", "device", "threads", "versions")}
        return {"metrics": metrics.measure(images, test, train_images, labels), "train_seconds": run["seconds"],
                "run": {**kept, "precision": run["options"]["precision"]}}

    return measured(work, {"flags": flags, "n": opt.n, "scorer": scorer.sha256(scorer.WEIGHTS)}, make)


def one_baseline(work, name, seed, opt):
    """Measures a baseline. Returns what `one_seed` does."""
    def make():
        train_images, test = references("mnist", data.data_dir(opt.data_dir))
        began = time.monotonic()
        if BASELINES[name] is None:
            return {"metrics": floor(train_images, test, seed), "train_seconds": 0.0}
        images = BASELINES[name](train_images, opt.n, seed)
        return {"train_seconds": time.monotonic() - began, "metrics": metrics.measure(images, test, train_images)}

    return measured(work, {"n": opt.n, "scorer": scorer.sha256(scorer.WEIGHTS)}, make)


def summary(results):
    """{metric: {"mean", "std" (of the sample; None of one seed), "seeds"}} of a list of {metric: number}."""
    return {name: {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else None,
                   "seeds": values} for name in results[0] for values in [[result[name] for result in results]]}


def record(path, variant, results, seeds, opt, command):
    """Writes a variant's entry into a result.json, and leaves the other variants alone."""
    entry = {"metrics": summary([result["metrics"] for result in results]), "seeds": list(seeds), "images": opt.n,
             "train_seconds": [round(result["train_seconds"], 1) for result in results],
             **({"run": results[-1]["run"]} if "run" in results[-1] else {}),
             "scorer": scorer.sha256(scorer.WEIGHTS), "date": datetime.date.today().isoformat(),
             **environment(), "command": command}
    write(path, {**read(path), variant: entry})


def main():
    args = sys.argv[1:]
    cut = args.index("--") if "--" in args else len(args)
    opt, flags = parse(Options, args=args[:cut]), args[cut + 1:]
    baselines = opt.model.name == "baselines"
    folder = ROOT / "misc" if baselines else find_folder(opt.model)
    result = writable_folder(folder / "samples", "MODEL") / "result.json"
    read(result)  # a damaged one is told before hours of work
    command = shlex.join(["python", *sys.argv])
    for variant in BASELINES if baselines else (opt.variant,):
        results = []
        for seed in opt.seeds:
            work = folder / "checkpoints" / "seeds" / variant.replace(" ", "_") / str(seed)
            if opt.fresh:
                shutil.rmtree(work, ignore_errors=True)
            held = lock(writable_folder(work, "--variant"), "--variant")
            results.append(one_baseline(work, variant, seed, opt) if baselines else
                           one_seed(folder, work, seed, opt, flags))
            held.release()
            say(f"{variant}, seed {seed}: " + "  ".join(f"{k} {v:.4g}" for k, v in results[-1]["metrics"].items()))
        record(result, variant, results, opt.seeds, opt, command)
    say(f"see {result}")


if __name__ == "__main__":
    with refusing("misc/seeds.py"):
        main()
