"""What the studies share: their options, the model that each is about, where they write."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from typing_extensions import TypedDict

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "misc")]
from common import data, trained  # noqa: E402
from common.log import environment, write_json  # noqa: E402
from common.models import load_file  # noqa: E402
from common.options import Seed  # noqa: E402
from misc import scorer  # noqa: E402
from misc.places import find_checkpoint, misc_folder  # noqa: E402

SURE = 0.9  # confidence of the classifier


@dataclass
class Study:
    """A study."""

    checkpoint: Path | None = None  # of the model that it is about; default: what its train.py or misc/seeds.py left
    data_dir: Path | None = None  # where MNIST lies; else $FUN_WITH_MNIST_DATA, else data/ of this repository
    seed: Seed = 0  # of what is drawn
    quick: bool = False  # a tenth of it
    publish: bool = False  # write to misc/results/, which is committed, instead of misc/samples/

    def networks(self, name, checkpoint=None):
        """(the module of a model's model.py, its trained networks, on the CPU, in eval mode and frozen)."""
        path = checkpoint or self.checkpoint or self.left(name)
        return load_file(ROOT / name / "model.py"), trained(name, path, torch.device("cpu"))

    def left(self, name):
        """The checkpoint that a model's misc/seeds.py or train.py left."""
        of_seed = ROOT / name / "checkpoints" / "seeds" / "default" / "0"
        return find_checkpoint(of_seed if of_seed.exists() else ROOT / name)

    def mnist(self, train=True):
        return data.load("mnist", data.data_dir(self.data_dir), train)

    def generator(self):
        return torch.Generator().manual_seed(self.seed)

    @property
    def out(self):
        """The folder of its files."""
        place = misc_folder(ROOT, self.publish)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def kept(self, name, part, form, **asked):
        """A part of what `write` left before, of a form (a type), where it was asked for the same; else {}. Raises
        InputError of a damaged file."""
        from seeds import read

        path = self.out / f"{name}.json"
        before = read(path, dict[str, Any])
        if any(before.get(key) != value for key, value in asked.items()):
            return {}
        return read(path, TypedDict("Kept", {part: form}))[part]

    def write(self, name, found):
        """Writes what was found, plain data, to <name>.json, and returns the path."""
        write_json(self.out / f"{name}.json", {"quick": self.quick, "seed": self.seed, **found, **environment()})
        return self.out / f"{name}.json"


def to_bytes(images):
    """Images in [0, 1] as the scorer takes them, uint8."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def read(images):
    """(class, confidence, features) by the scoring classifier, of images in [0, 1]."""
    features, logits = scorer.score(to_bytes(images))
    confidence, label = logits.softmax(1).max(1)
    return label, confidence, features
