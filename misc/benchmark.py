"""How fast GAN/train.py trains, against a GAN written the usual way:    python misc/benchmark.py [--quick]

Ours is GAN/train.py itself, as a user gets it: data, losses, logging, checkpoints included. The usual way has the same
networks, batch and losses, but plain layers in float32, a DataLoader with transforms of each image, fakes drawn twice,
and `.item()` every update. Both run in this one process, in turns; the ratio of each pair of turns is what counts,
because other load on the machine then meets both. Writes a table, benchmark_<device>.json and a plot, and ends
with one line `ratio: X.XX`, the median over the pairs."""

import contextlib
import datetime
import io
import json
import platform
import resource
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common import Count, data, layers  # noqa: E402
from common.files import writable_folder  # noqa: E402
from common.log import device_name, write_json  # noqa: E402
from common.options import parse, refusing  # noqa: E402
from common.run import Run  # noqa: E402
from misc.places import misc_folder  # noqa: E402


@dataclass
class Options:
    """How fast GAN/train.py trains, against a GAN written the usual way."""

    quick: bool = False  # under a minute: short turns, no ablation
    dataset: Literal["auto", "mnist", "digits"] = "auto"  # auto: mnist where it can be had
    pairs: Annotated[int, Field(ge=5)] = 5  # pairs of turns
    updates: Count | None = None  # of ours in a turn; default: 30, with --quick 6; on a GPU two epochs and one
    out_dir: Path | None = None  # where JSON and plot go; default: misc/samples/
    publish: bool = False  # write to misc/results/, which is committed, instead


ABLATION = {  # what is switched off -> the flags or the switch
    "bf16 (all in float32)": ["--precision", "fp32"],
    "convolutions as matrix products": "matmul_conv",
    "fused Adam": "fused_step",
    "channels_last memory": "channels_last",
    "CUDA graph": ["--eager"],
}

def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def warmup():
    """Updates before the clock runs: on a GPU, where the grids within the first epoch would take longer than a turn,
    after these."""
    return 210 if torch.cuda.is_available() else 3


def wide(batch_size):
    """The flags for an endless training of networks as wide as usual."""
    return ["--batch-size", str(batch_size), "--epochs", "1000000", "--g-width", "64", "--d-width", "64"]


class Ours:
    """GAN/train.py, run in this process by `turns`, with a stopwatch between its batches."""

    def __init__(self, *flags, dataset):
        self.flags = ["--dataset", dataset, *flags]

    def turns(self, between, updates, warmup, count=None):
        """Runs `count` turns of so many updates, where None all of the training, and calls between(run, seconds) after
        each. Returns the seconds of each turn."""
        seconds, original = [], Run.batches

        def batches(run):
            began = None
            for done, batch in enumerate(original(run)):
                if done == warmup:
                    synchronize()
                    began = time.perf_counter()
                elif done > warmup and (done - warmup) % updates == 0:
                    synchronize()
                    seconds.append(time.perf_counter() - began)
                    between(run, seconds[-1])
                    if len(seconds) == count:
                        return
                    began = time.perf_counter()
                yield batch
            if count is None:
                seconds.append(time.perf_counter() - began)
                between(run, seconds[-1])

        Run.batches = batches
        argv = sys.argv
        try:
            said = io.StringIO()
            with tempfile.TemporaryDirectory() as out, contextlib.redirect_stderr(said):
                sys.argv = [str(ROOT / "GAN" / "train.py"), *self.flags, "--out-dir", out]
                runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit:
            print(said.getvalue(), file=sys.stderr)
            raise
        finally:
            Run.batches, sys.argv = original, argv
        return seconds


def plain_networks():
    """The networks of GAN/model.py, of plain layers."""
    def stage(conv, before, after, activation):
        return conv(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), activation

    G = nn.Sequential(*stage(nn.ConvTranspose2d, 100, 512, nn.ReLU()), *stage(nn.ConvTranspose2d, 512, 256, nn.ReLU()),
                      *stage(nn.ConvTranspose2d, 256, 128, nn.ReLU()), *stage(nn.ConvTranspose2d, 128, 64, nn.ReLU()),
                      nn.ConvTranspose2d(64, 1, 4, 2, 1, bias=False), nn.Sigmoid())
    D = nn.Sequential(nn.Conv2d(1, 64, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
                      *stage(nn.Conv2d, 64, 128, nn.LeakyReLU(0.2)), *stage(nn.Conv2d, 128, 256, nn.LeakyReLU(0.2)),
                      *stage(nn.Conv2d, 256, 512, nn.LeakyReLU(0.2)), nn.Conv2d(512, 1, 2), nn.Sigmoid())
    return G, D


class Usual:
    """The same GAN, written the usual way."""

    def __init__(self, batch_size, dataset):
        from torchvision import datasets, transforms

        root = data.data_dir()
        transform = transforms.Compose([transforms.Pad(2), transforms.ToTensor()])
        if dataset == "mnist":
            images = datasets.MNIST(root, transform=transform)
        else:  # a data set that does the same with other images of 28 x 28
            images = datasets.MNIST.__new__(datasets.MNIST)
            digits = data.load(dataset, root)
            images.data, images.targets = digits.images[:, 0, 2:-2, 2:-2], digits.labels
            images.transform, images.target_transform = transform, None
        self.loader = torch.utils.data.DataLoader(images, batch_size, shuffle=True, drop_last=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.G, self.D = (net.to(self.device) for net in plain_networks())
        self.adam_g, self.adam_d = (torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (self.G, self.D))
        self.batches = iter(())

    def update(self, x):
        G, D, n = self.G, self.D, len(x)
        real, fake = torch.ones(n, 1, 1, 1, device=self.device), torch.zeros(n, 1, 1, 1, device=self.device)
        self.adam_d.zero_grad()
        z = torch.randn(n, 100, 1, 1, device=self.device)
        d_loss = F.binary_cross_entropy(D(x), real) + F.binary_cross_entropy(D(G(z).detach()), fake)
        d_loss.backward()
        self.adam_d.step()
        self.adam_g.zero_grad()
        z = torch.randn(n, 100, 1, 1, device=self.device)
        g_loss = F.binary_cross_entropy(D(G(z)), real)
        g_loss.backward()
        self.adam_g.step()
        return d_loss.item(), g_loss.item()

    def turn(self, updates):
        """The seconds that so many updates take, with TF32 as PyTorch has it, which Run changes."""
        before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, True
        synchronize()
        began = time.perf_counter()
        for _ in range(updates):
            batch = next(self.batches, None)
            if batch is None:
                self.batches = iter(self.loader)
                batch = next(self.batches)
            self.update(batch[0].to(self.device))
        synchronize()
        seconds = time.perf_counter() - began
        torch.backends.cudnn.allow_tf32 = before
        return seconds


def gflop_per_image():
    """Work of one update, fakes drawn once, per image."""
    from torch.utils.flop_counter import FlopCounterMode

    G, D = plain_networks()
    x, z = torch.rand(2, 1, 32, 32), torch.randn(2, 100, 1, 1)
    with FlopCounterMode(display=False) as counter:
        fake = G(z)
        torch.autograd.grad(D(x).sum() + D(fake.detach()).sum(), list(D.parameters()))
        torch.autograd.grad(D(fake).sum(), list(G.parameters()))
    return counter.get_total_flops() / 2 / 1e9


def product_rate(device, dtype):
    """GFLOP/s of the matrix products of these layers' sizes (batch 128), the median of 5 rounds."""
    sizes = [(8192, 1024, 128), (2048, 2048, 256), (512, 4096, 512)]
    pairs = [(torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype))
             for m, k, n in sizes]
    rates = []
    for _ in range(6):
        synchronize()
        began = time.perf_counter()
        for _ in range(100 if device.type == "cuda" else 4):
            for a, b in pairs:
                a @ b
        synchronize()
        rates.append(sum(2 * m * k * n for m, k, n in sizes) * (100 if device.type == "cuda" else 4)
                     / (time.perf_counter() - began) / 1e9)
    return statistics.median(rates[1:])


def compare(batch_size, updates, pairs, dataset, flags=()):
    """Images/s of ours and of the usual way in each of so many pairs of turns."""
    usual, theirs = Usual(batch_size, dataset), []
    n = max(1, updates // 3)
    usual.turn(1)
    ours = Ours(*wide(batch_size), *flags, dataset=dataset)
    ours = ours.turns(lambda run, seconds: theirs.append(usual.turn(n)), updates, warmup(), pairs)
    return [batch_size * updates / s for s in ours], [batch_size * n / s for s in theirs]


def peak_memory():
    """MB: of the GPU where there is one, else of this process (its resident set)."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    try:  # getrusage would count what the parent process had
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1000
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def child(which, began, dataset):
    """In a process of its own: seconds from its start to the end of the first update, and its peak memory in MB."""
    ended = []
    if which == "ours":
        Ours(*wide(128), dataset=dataset).turns(lambda run, seconds: ended.append(time.time()), 1, 0, 2)
    else:
        usual = Usual(128, dataset)
        for _ in range(2):
            usual.turn(1)
            ended.append(time.time())
    print(json.dumps({"first_update_s": ended[0] - float(began), "peak_memory_mb": peak_memory()}))


def in_child(which, dataset):
    command = [sys.executable, __file__, "child", which, str(time.time()), dataset]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def two_ranks(dataset):
    """Images/s of one process and of two gloo ranks, from two lengths of a run, so that the start does not count."""
    rates = {}
    for ranks in (1, 2):
        seconds = []
        for steps in (10, 40):
            with tempfile.TemporaryDirectory() as out:
                launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
                flags = ["--dataset", dataset, "--device", "cpu", "--batch-size", "128"]
                flags += ["--max-steps", str(steps), "--out-dir", out]
                subprocess.run([sys.executable, *(launch if ranks > 1 else []), str(ROOT / "GAN" / "train.py"), *flags],
                               capture_output=True, check=True)
                seconds.append(json.loads((Path(out) / "samples" / "run.json").read_text("utf-8"))["seconds"])
        rates[ranks] = 30 * 128 / max(1e-9, seconds[1] - seconds[0])
    return rates


def ablation(updates, dataset, device):
    """Images/s with each optimisation switched off, in rounds with all switched on: {name: [images/s, ...]}."""
    other = ("convolutions as matrix products",) if device.type == "cuda" else ("CUDA graph",)
    names = {name: off for name, off in ABLATION.items() if name not in other}  # the others never run on this device
    rates = {"all on": [], **{name: [] for name in names}}
    for _ in range(3):
        for name in rates:
            off = names.get(name, [])
            if isinstance(off, str):
                layers.SWITCHES[off] = False
            ours = Ours(*wide(128), *(off if isinstance(off, list) else []), dataset=dataset)
            seconds = ours.turns(lambda run, seconds: None, updates, warmup(), 1)
            rates[name].append(128 * updates / seconds[0])
            layers.SWITCHES.update(dict.fromkeys(layers.SWITCHES, True))
    return rates


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def text(values, form=",.0f"):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def plot(path, sizes, title):
    """Time of an update over the batch size, both ways."""
    from common.images import figure, save

    fig, ax = figure()
    for which, label in (("usual", "the usual way"), ("ours", "GAN/train.py")):
        ax.plot([row["batch"] for row in sizes], [1000 * row["batch"] / row[which] for row in sizes], "o-", label=label)
    ax.set(xlabel="images in a batch", ylabel="time of one update (ms)", title=title, xscale="log", yscale="log")
    ax.set_xticks([row["batch"] for row in sizes], [str(row["batch"]) for row in sizes])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend()
    save(path, fig)


def main():
    if sys.argv[1:2] == ["child"]:
        return child(*sys.argv[2:])
    opt = parse(Options)
    out_dir = writable_folder(opt.out_dir or misc_folder(ROOT, opt.publish), "--out-dir")
    opt.dataset, notice = data.resolve(opt.dataset, data.data_dir())
    if notice:
        print(notice)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gpu = device.type == "cuda"
    epoch = 60_000 // 128  # on a GPU a turn is whole epochs, so that each has its share of pictures and checkpoints
    updates = opt.updates or (epoch * (1 if opt.quick else 2) if gpu else 6 if opt.quick else 30)

    ours, usual = compare(128, updates, opt.pairs, opt.dataset)
    ratios = [a / b for a, b in zip(ours, usual, strict=True)]
    work = gflop_per_image()
    products = {"bf16": product_rate(device, torch.bfloat16), "fp32": product_rate(device, torch.float32)}
    starts = {which: in_child(which, opt.dataset) for which in ("ours", "usual")}
    best = max(products.values())
    print(f"{device_name(device.type)}, {torch.get_num_threads()} threads, torch {torch.__version__}, batch 128; "
          f"{opt.pairs} pairs of turns\n"
          f"matrix products: bf16 {products['bf16']:,.0f} GFLOP/s, float32 {products['fp32']:,.0f} GFLOP/s; "
          f"work of an update: {work:.2f} GFLOP an image\n")
    print(f"{'':14}{'images/s (median, range)':>32}{'GFLOP/s':>10}{'share of products':>19}{'first update':>14}"
          f"{'peak memory':>13}")
    for name, rates, key in (("GAN/train.py", ours, "ours"), ("the usual way", usual, "usual")):
        rate = statistics.median(rates) * work
        print(f"{name:14}{text(rates):>32}{rate:>10,.0f}{rate / best:>18.0%} {starts[key]['first_update_s']:>12.1f} s"
              f"{starts[key]['peak_memory_mb']:>10,.0f} MB")
    result = {
        "date": datetime.date.today().isoformat(), "device": device_name(device.type), "cores": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "command": "python " + " ".join(sys.argv),
        "quick": opt.quick, "dataset": opt.dataset, "batch": 128,
        "images_per_second": {"ours": spread(ours), "usual": spread(usual)},
        "ratio": {**spread(ratios), "pairs": ratios}, "gflop_per_image": work, "product_gflops": products,
        "start": starts, "gflops": {"ours": statistics.median(ours) * work, "usual": statistics.median(usual) * work}}

    result["batch_sizes"] = []
    for batch in (32, 128, 512) if opt.quick else (32, 64, 128, 256, 512):
        turn = 60_000 // batch if gpu else 3 if opt.quick else max(6, 1536 // batch)
        a, b = compare(batch, turn, 1 if opt.quick else 3, opt.dataset)
        result["batch_sizes"].append({"batch": batch, "ours": statistics.median(a), "usual": statistics.median(b)})
    print("\nbatch size    ours images/s    the usual way")
    for row in result["batch_sizes"]:
        print(f"{row['batch']:>10}{row['ours']:>17,.0f}{row['usual']:>17,.0f}")
    if not opt.quick:
        rates = ablation(epoch if gpu else updates // 2, opt.dataset, device)
        print("\nswitched off                          images/s (median, range)    of all on")
        for name, values in rates.items():
            share = [value / on for value, on in zip(values, rates["all on"], strict=True)]
            print(f"{name:34}{text(values):>28}{statistics.median(share):>12.0%}")
        result["ablation"] = {name: spread(values) for name, values in rates.items()}
        result["ranks"] = two_ranks(opt.dataset)
        print("\non the CPU: " + ", ".join(f"{ranks} process{'es' * (ranks > 1)} {rate:,.0f} images/s"
                                           for ranks, rate in result["ranks"].items()))
    name = "benchmark_" + ("gpu" if gpu else "cpu") + ("_quick" if opt.quick else "")
    plot(out_dir / f"{name}.png", result["batch_sizes"], f"One update of a GAN, {device_name(device.type)}")
    write_json(out_dir / f"{name}.json", result)
    print(f"\nratio: {result['ratio']['median']:.2f}")


if __name__ == "__main__":
    with refusing("misc/benchmark.py"):
        main()
