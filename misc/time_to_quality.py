"""How many minutes until the samples are good, against a GAN written the usual way:    python misc/time_to_quality.py

GAN/train.py as a user gets it, to its end, and the GAN of misc/benchmark.py written the usual way train in this one
process, in turns, so that other load on the machine meets both; the clocks stand still while samples are measured: FID
of 2,000 images along the way, of 10,000 where a threshold may be reached. Writes time_to_quality.json, for course.py to
draw, and prints the minutes at each threshold and their ratio, a lower bound where the usual way has not got there."""

import datetime
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Count, Positive, data, evaluating  # noqa: E402
from common.files import writable_folder  # noqa: E402
from common.log import device_name, say, write_json  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from misc import metrics, scorer  # noqa: E402
from misc.benchmark import Ours, Usual  # noqa: E402
from misc.generate import draw  # noqa: E402
from misc.places import misc_folder  # noqa: E402

FEW, MANY, SLACK = 2_000, 10_000, 6  # images; the FID of few is higher than that of many, by less than this


@dataclass
class Options:
    """How many minutes until the samples are good, against a GAN written the usual way."""

    minutes: Positive = 60  # of training that the usual way gets; ours trains to its end
    thresholds: tuple[Positive, ...] = (20, 10, 5)  # FIDs whose minutes are wanted
    turn: Count = 125  # updates of ours in a turn
    points: Count = 40  # times that the usual way is measured
    dataset: Literal["auto", "mnist", "digits"] = "auto"  # auto: mnist where it can be had
    epochs: Count | None = None  # of ours; default: its own
    out_dir: Path | None = None  # where the JSON goes; default: misc/samples/
    publish: bool = False  # write to misc/results/, which is committed, instead


class Watch:
    """The clock of one way and what was measured: points [{"minutes", "images", "fid"}, ...], and `reached`, the first
    point, of MANY images, at or below each threshold; None before."""

    def __init__(self, name, real, thresholds):
        self.name, self.real = name, real
        self.minutes, self.images, self.points = 0.0, 0, []
        self.reached = dict.fromkeys(sorted(thresholds, reverse=True))

    def measure(self, sample):
        """sample(n): n images, uint8 (n, 1, 32, 32)."""
        def point(n):
            fid = metrics.fid(self.real, scorer.score(sample(n))[0])
            return {"minutes": self.minutes, "images": self.images, "fid": fid}

        self.points.append(point(FEW))
        print(f"{self.name}: {self.minutes:.1f} minutes, {self.images:,} images, FID {self.points[-1]['fid']:.1f}",
              flush=True)
        ahead = [fid for fid, found in self.reached.items() if not found]
        if ahead and self.points[-1]["fid"] <= ahead[0] + SLACK:
            sure = point(MANY)
            self.reached |= {fid: sure for fid in ahead if sure["fid"] <= fid}


def sampled(G, device):
    """What draws n images, uint8, from a generator of the usual way, in eval mode."""
    def sample(n):
        z = torch.randn(n, 100, 1, 1, generator=torch.Generator().manual_seed(0)).to(device)
        with evaluating(G):
            return torch.cat([(G(part) * 255).round().byte().cpu() for part in z.split(500)])

    return sample


def scores(dataset, train):
    """The features of a data set's images, of training images as many as are drawn."""
    return scorer.score(data.load(dataset, data.data_dir(), train).images[:FEW if train else None])[0]


def race(opt):
    """Trains both in turns: the usual way has always had the share of its minutes that ours has done of its updates.
    Returns the `Watch` of ours and that of the usual way."""
    torch.manual_seed(0)
    real = scores(opt.dataset, train=False)
    ours, theirs = Watch("GAN/train.py", real, opt.thresholds), Watch("the usual way", real, opt.thresholds)
    usual, model, step = Usual(128, opt.dataset), load_file(ROOT / "GAN" / "model.py"), 0

    def between(run, seconds):
        nonlocal step
        whole = run._whole
        step = min(step + opt.turn, whole)
        ours.minutes, ours.images = ours.minutes + seconds / 60, step * run.options.batch_size
        if step < 2_000 or step % 1_000 < opt.turn or step == whole:
            ours.measure(lambda n: draw(model, run._networks, n)[0])
        while theirs.minutes < opt.minutes * step / whole:
            theirs.minutes, theirs.images = theirs.minutes + usual.turn(1) / 60, theirs.images + 128
            if theirs.minutes >= opt.minutes / opt.points * (len(theirs.points) + 1):
                theirs.measure(sampled(usual.G, usual.device))

    flags = ["--epochs", str(opt.epochs)] if opt.epochs else []
    Ours(*flags, dataset=opt.dataset).turns(between, opt.turn, 0)
    return ours, theirs


def compared(ours, theirs):
    """{threshold: {"ours", "usual": minutes or None, "ratio", "at_least": whether the ratio is a lower bound}}, ratio
    None where ours has not got there."""
    table = {}
    for fid, mine in ours.reached.items():
        other = theirs.reached[fid]
        minutes = (other or {"minutes": theirs.minutes})["minutes"]
        table[f"{fid:g}"] = {"ours": mine and mine["minutes"], "usual": other and minutes, "at_least": other is None,
                             "ratio": minutes / mine["minutes"] if mine else None}
    return table


def main():
    opt = parse(Options)
    out_dir = writable_folder(opt.out_dir or misc_folder(ROOT, opt.publish), "--out-dir")
    opt.dataset, notice = data.resolve(opt.dataset, data.data_dir())
    if notice:
        say(notice)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    ours, theirs = race(opt)
    table = compared(ours, theirs)
    write_json(out_dir / "time_to_quality.json", {
        "date": datetime.date.today().isoformat(), "device": device_name(device), "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "command": " ".join(["python", *sys.argv]), "dataset": opt.dataset, "minutes": table,
        "real": metrics.fid(ours.real, scores(opt.dataset, train=True)),  # the best that FEW images can have
        "points": {"ours": ours.points, "usual": theirs.points}})
    for fid, row in table.items():
        mine, other, ratio = (row[key] for key in ("ours", "usual", "ratio"))
        print(f"FID {fid}: " + ("not reached" if mine is None else f"{mine:.1f} minutes, the usual way " + (
            f"not in {theirs.minutes:.0f}: more than {ratio:.1f} times as long" if row["at_least"] else
            f"{other:.1f}: {ratio:.1f} times as long")))


if __name__ == "__main__":
    with refusing("misc/time_to_quality.py"):
        main()
