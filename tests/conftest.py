"""What several test files share. The tests need neither data nor network; those of the real MNIST skip without it."""

import os
import sys
from pathlib import Path

# several workers (pytest -n 2) share the cores: with all of them each, small products are several times slower
if (workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, os.cpu_count() // workers)))

import numpy as np  # noqa: E402
import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from common import data  # noqa: E402
from common.models import load_file  # noqa: E402

MODEL_FOLDERS = sorted(file.parent for pattern in ("*/model.py", "misc/*/model.py") for file in ROOT.glob(pattern))


def folder_name(folder):
    """The folder as the tests' ids show it."""
    return str(folder.relative_to(ROOT))


def load_model(folder):
    """Loads <folder>/model.py (a path, or a name below the root) under a module name of its own."""
    return load_file(ROOT / folder / "model.py")


def mnist_root():
    """The folder with the four MNIST files, or None."""
    root = data.data_dir()
    return root if all(file.exists() for file in data._files("mnist", root)) else None


@pytest.fixture
def real_mnist():
    root = mnist_root()
    if root is None:
        pytest.skip(f"MNIST is not in {data.data_dir()} (environment variable FUN_WITH_MNIST_DATA)")
    return root


def write_idx(root, name="MNIST", train=40, test=20):
    """Writes random images and labels in the layout of torchvision's class `name`.

    Returns {"train": (images, labels), "t10k": ...}, uint8 arrays (N, 28, 28) and (N,)."""
    rng, written = np.random.default_rng(0), {}
    folder = Path(root) / name / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", train), ("t10k", test)):
        images, labels = rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n, np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = np.array([0x0800 + array.ndim, *array.shape], ">i4")
            (folder / f"{part}-{kind}-ubyte").write_bytes(header.tobytes() + array.tobytes())
        written[part] = images, labels
    return written
