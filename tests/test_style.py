"""What must not stand in a train.py or a model.py (and what must), read from the syntax tree."""

import ast
import re
import subprocess

import pytest
from conftest import MODEL_FOLDERS, ROOT, folder_name

TRAIN_FILES = sorted([*ROOT.glob("*/train.py"), *ROOT.glob("misc/*/train.py")])

IMPORTS = {"copy", "dataclasses", "functools", "itertools", "math", "pathlib", "sys", "typing",
           "torch", "common"}
NO_IMPORTS = ("torch.utils", "torch.distributed", "torch.cuda", "torch.amp", "torch.multiprocessing",
              "common.acceleration", "common.checkpoint", "common.distribution", "common.log")
NAMES = {
    "argument parsing": {"argparse", "ArgumentParser", "parse_args", "argv", "tyro", "click"},
    "environment variables": {"environ", "getenv", "putenv"},
    "ranks": {"rank", "ranks", "local_rank", "world_size", "get_rank", "get_world_size", "distribution", "distributed",
              "DistributedDataParallel"},
    "DataLoader": {"DataLoader"},
    "downloads": {"download", "urlopen", "urlretrieve", "download_url", "torchvision", "hub"},
    "autocast": {"autocast", "GradScaler"},
    "compile": {"compile"},
    ".cuda()": {"cuda"},
    ".item()": {"item"},
    "print": {"print"},
    "file paths": {"open", "os", "glob", "mkdir", "write_text", "write_bytes", "read_text", "read_bytes"},
    "GIF code": {"imageio", "imwrite", "mimsave", "save_gif", "PIL"},
}
FILE_PATH = re.compile(r"^(~|\.{1,2})?/|/$|^(samples|checkpoints|data|logs|img_src|common|misc)/"
                       r"|\.(png|jpe?g|gif|pth?|json|np[yz]|csv|txt|gz|bz2|zip)$")
SOURCE = re.compile(r"\b\d{4}\.\d{4,5}\b|https?://|\bdoi\b|[A-Z]\w+ (et al\.|and|&)[^.]*\b(19|20)\d\d\b")
GUARD = 'if __name__ == "__main__":\n    main()'


def same(node, code):
    return ast.dump(node) == ast.dump(ast.parse(code).body[0])


def docstrings(tree):
    """The docstrings' nodes."""
    return [node.body[0].value for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None]


def names(tree):
    """Every name in the code: variables, attributes, arguments, functions, classes, what is imported."""
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname", "module"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield from value.split(".")


def strings(tree):
    documentation = docstrings(tree)
    return [node.value for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in documentation]


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def forbidden(tree):
    """What neither train.py nor model.py may contain."""
    found = set(names(tree))
    problems = [f"{what}: {name}" for what, words in NAMES.items() for name in sorted(words & found)]
    problems += [f"torch.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
                 and node.attr in ("save", "load") and isinstance(node.value, ast.Name) and node.value.id == "torch"]
    problems += [f"torch.{name}" for name in ("save", "load") if f"torch.{name}" in imports(tree)]
    problems += [f"builtin {node.id}" for node in ast.walk(tree)
                 if isinstance(node, ast.Name) and node.id in ("exec", "eval", "input", "__import__")]
    problems += [f"file paths: {text!r}" for text in strings(tree) if FILE_PATH.search(text)]
    problems += [f"downloads: {text!r}" for text in strings(tree) if "://" in text]
    problems += [f"GIF code: {text!r}" for text in [*found, *strings(tree)] if re.search(r"(?<![a-z])gif", text, re.I)]
    problems += [f".cuda(): {text!r}" for text in strings(tree) if re.fullmatch(r"cuda(:\d+)?", text)]
    return problems


def check_model(source):
    tree = ast.parse(source)
    words = {"Path", "__file__", "optim", "Adam", "SGD", "RMSprop", "Run", "BaseOptions", "sys"} & set(names(tree))
    return forbidden(tree) + [f"not of a model.py: {word}" for word in sorted(words)]


LINE = ("sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents "
        "if (folder / \"common\").is_dir()))")


def check_train(source, folder="Model"):
    """The problems of a train.py's source in `folder`."""
    tree = ast.parse(source)
    problems = forbidden(tree)
    for name in imports(tree):
        if name.split(".")[0] not in IMPORTS or name.startswith(NO_IMPORTS):
            problems.append(f"import of {name}")

    if sum(same(node, LINE) for node in tree.body) != 1:
        problems.append(f"not once: {LINE}")
    rest = ast.Module([node for node in tree.body if not same(node, LINE)], [])
    runs = [argument for node in ast.walk(rest) if isinstance(node, ast.Call)
            and (same(ast.Expr(node.func), "Run") or same(ast.Expr(node.func), "beside")) for argument in node.args]
    for node in ast.walk(rest):
        if isinstance(node, ast.Name) and (node.id == "sys" or node.id == "__file__" and node not in runs):
            problems.append(f"file paths: {node.id}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Path":
            problems.append("file paths: Path()")

    word = "[-_]".join(map(re.escape, folder.split("-")))
    own = re.compile(rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])")
    problems += [f"its own folder's name: {text!r}" for text in [*names(tree), *strings(tree)] if own.search(text)]

    if len(source.splitlines()) > 110:
        problems.append("more than 110 lines")
    if not SOURCE.search(ast.get_docstring(tree) or ""):
        problems.append("no docstring that names a paper")
    if sum(isinstance(node, ast.FunctionDef) and node.name == "main" for node in tree.body) != 1:
        problems.append("no main")
    if not same(tree.body[-1], GUARD):
        problems.append("no guard at the end")
    return problems


@pytest.mark.parametrize("file", TRAIN_FILES, ids=folder_name)
def test_train(file):
    assert check_train(file.read_text(), file.parent.name) == []


@pytest.mark.parametrize("folder", MODEL_FOLDERS, ids=folder_name)
def test_model(folder):
    assert check_model((folder / "model.py").read_text()) == []


# ---- the checks themselves

GOOD = '''"""A Model: Somebody et al. 2014 (arXiv 1406.2661)."""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Run, beside

model = beside(__file__, "model")


@dataclass
class Options(BaseOptions):
    """Model: its options."""

    source: Path | None = None  # a comment on Model


def main():
    run = Run(Options, __file__)
    items = [net.eval() for net in run.networks(model.build).values()]
    run.save("grid", torch.stack(items))
    title = f"{len(items)} of D(G(z)) / D(x)"


if __name__ == "__main__":
    main()
'''


def test_the_good_has_no_problems():
    assert check_train(GOOD) == []
    assert check_model("import torch\n\ndef build():\n    return {'G': torch.nn.Linear(1, 1)}\n") == []


@pytest.mark.parametrize("line", [
    "import argparse", "import os", "import tyro", "from torch.utils.data import DataLoader", "import torchvision",
    "import torch.distributed as dist", "from torch import distributed", "from common import distribution",
    "from common.checkpoint import save", "import urllib.request", "import imageio", "from torch import save",
    "from torch import autocast", "from PIL import Image", "from . import model",
    "x = sys.argv[1]", "sys.path.append('x')", "sys.exit(2)", "p = ArgumentParser()",
    "x = os.environ['SEED']", "x = os.getenv('SEED')",
    "if run.rank == 0: pass", "if rank() == 0: pass", "n = world_size",
    "for x in torch.utils.data.DataLoader(run.train): pass", "d = MNIST(download=True)",
    "with torch.autocast('cpu'): pass", "G = torch.compile(G)", "G.compile()", "@torch.compile\ndef f(): pass",
    "G.cuda()", "x = x.to('cuda')", "x = x.to('cuda:0')", "torch.cuda.synchronize()", "y = loss.item()",
    "y = [l.item() for l in losses]", "print(1)", "f = print", "torch.save(G, f)", "G = torch.load(f)",
    "open(f)", "p = Path('x')", "p = Path.cwd() / __file__ ", "here = __file__", "x = 'samples/grid'", "x = 'grid.png'",
    "x = '/tmp/x'", "x = '../data'", "x = f'{name}.png'", "save_gif(x)", "images.save_process_gif(x)",
    "x = 'process.gif'", "make_gif = 1", "x = 'https://example.org'", "exec('x = 1')", "__import__('os')",
    "Model = 1", "x = 'Model'", "x = f'{a} of Model on MNIST'", "def Model(): pass", "class Model: pass", "f(Model=1)",
    "from model import Model", "self.Model_loss = 1", "'''A string, not the docstring, that says Model.'''",
])
def test_each_bad_line_is_seen(line):
    indented = "\n".join("    " + part for part in line.splitlines())
    for bad in (GOOD.replace("\ndef main", f"\n{line}\n\n\ndef main"),
                GOOD.replace("    title", f"{indented}\n    title")):
        assert check_train(bad), bad


@pytest.mark.parametrize("folder, line, bad", [
    ("WGAN-GP", "x = 'WGAN-GP'", True), ("WGAN-GP", "WGAN_GP = 1", True), ("WGAN-GP", "x = 'WGAN'", False),
    ("GAN", "x = 'WGAN'", False), ("AE", "x = 'VAE'", False), ("AE", "AE = 1", True), ("AE", "SEAED = 1", False)])
def test_own_name(folder, line, bad):
    source = GOOD.replace("\ndef main", f"\n{line}\n\n\ndef main")
    assert bool(check_train(source, folder)) == bad
    assert not check_train(GOOD.replace("A Model", f"A {folder}"), folder)


@pytest.mark.parametrize("before, after", [
    (" 2014 (arXiv 1406.2661)", ""), ('"""A Model', 'x = """A Model'), ("def main()", "def start()"),
    ('if __name__ == "__main__":\n    main()', "main()"), ("    main()\n", "    main()\nx = 1\n"),
    (LINE + "\n", ""), (LINE, "sys.path.insert(0, str(Path(__file__).resolve().parents[1]))"),
    ("(__file__, \"model\")", "(\"model\")\nhere = __file__"),
    ("import torch\n", "import torch\n" + "\n" * 100)])
def test_each_lack_is_seen(before, after):
    assert before in GOOD and check_train(GOOD.replace(before, after))


@pytest.mark.parametrize("line", [
    "print(1)", "open('x')", "torch.save(x, y)", "from torch import load", "from pathlib import Path", "x = 'a.png'",
    "import os", "x = __file__", "torch.hub.load('a', 'b')", "adam = torch.optim.Adam(p)", "from common import Run",
    "G.cuda()", "x = y.item()", "G.compile()"])
def test_each_bad_line_of_a_model_is_seen(line):
    assert check_model(f'"""Networks."""\nimport torch\n\n{line}\n')


@pytest.mark.parametrize("file", [file for folder in MODEL_FOLDERS for file in sorted(folder.glob("*.py"))],
                         ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_float64_on_a_device_that_may_have_none(file):
    """mps has none: what a model computes in it has come to the CPU before."""
    doubles = re.findall(r"(\S*)\.double\(\)", file.read_text())
    assert all(before.endswith(".cpu()") for before in doubles)
    assert "torch.float64" not in file.read_text()


# ---- sizes


def test_run_is_no_god_object():
    assert len((ROOT / "common" / "run.py").read_text().splitlines()) <= 250


def test_no_large_file_in_git():
    try:
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert [str(file) for file in files if file.is_file() and file.stat().st_size > 2_000_000] == []
