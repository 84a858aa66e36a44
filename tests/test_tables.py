"""misc/tables.py: what it writes on which page, what it leaves out, and that nothing that it shows is trusted."""

import copy
import json
import re
import shutil
import sys

import pytest
from running import ROOT

from common.log import write_json
from common.models import load_file
from common.options import refusing
from misc import scorer

MISC = ROOT / "misc"
HEAD = """<!--
title: {title}
group: GANs
idea: {idea}
variant: long
figure: fid
unit: in features
picture: samples.png
reported: FID 6.8 ([A 2018](https://example.org/a_(b)))
-->
"""


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The module, at work on an empty folder."""
    monkeypatch.syspath_prepend(str(MISC))
    module = load_file(MISC / "tables.py")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "misc").mkdir()
    return module


def run(tables, monkeypatch, *args):
    """The exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["misc/tables.py", *args])
    try:
        with refusing("misc/tables.py"):
            tables.main()
    except SystemExit as stop:
        return stop.code
    return 0


def entry(fid=(2.0, 3.0, 4.0), course=None, **more):
    metrics = {"fid": fid, "is": [9.0, 9.5, 1.0], "recall": [0.8] * 3}
    run = {"date": "2026-01-02", "dataset": "mnist", "steps": 1500, "seconds": 600.0, "device": "a CPU", "threads": 1,
           "precision": "bf16", "versions": {"torch": "2.9"}, **({"course": course} if course else {})}
    return {"metrics": {name: {"mean": sum(seeds) / 3, "std": 0.5, "seeds": list(seeds)}
                        for name, seeds in metrics.items()},
            "seeds": [0, 1, 2], "images": 10_000, "scorer": scorer.sha256(scorer.WEIGHTS), "commit": "abc1234",
            "command": "python misc/seeds.py", "runs": [copy.deepcopy(run) for _ in range(3)], **more}


def write(folder, entries, page=None, pictures=("process.gif", "samples.png")):
    for variant in entries:
        (folder / "results" / variant).mkdir(parents=True, exist_ok=True)
        for name in pictures:
            (folder / "results" / variant / name).touch()
    (folder / "results").mkdir(parents=True, exist_ok=True)
    (folder / "results" / "result.json").write_text(json.dumps(entries))
    if page is not None:
        (folder / "README.md").write_text(page)


def blocks(*names):
    return "".join(f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->\n\ntext\n" for name in names)


def test_a_copied_folder_gets_page_row_and_tile(tables, tmp_path, monkeypatch):
    mine = tmp_path / "My-GAN"
    shutil.copytree(ROOT / "GAN", mine, ignore=shutil.ignore_patterns("results", "README.md", "__pycache__", "*s"))
    write(mine, {"default": entry()})
    write(tmp_path / "misc", {"real images": entry(fid=(1.0, 1.0, 1.0))})
    (tmp_path / "README.md").write_text("# All\n" + blocks("strip", "models", "results"))
    assert run(tables, monkeypatch) == 0 and run(tables, monkeypatch, "--check") == 0
    page, readme = (mine / "README.md").read_text(), (tmp_path / "README.md").read_text()
    for part in ("title: My-GAN\n", "group: Yours\n", "idea: GAN: Generative Adversarial Networks, Goodfellow et al.",
                 "[arXiv 1406.2661](https://arxiv.org/abs/1406.2661)", "# My-GAN\n", "python My-GAN/train.py",
                 'src="results/default/process.gif"', "| default †<br>3 seeds, 1,500 updates | 3.00 ±",
                 "**default**: `python misc/seeds"):
        assert part in page, part
    assert readme.startswith("# All\n") and readme.count("\ntext\n") == 3 and "old" not in readme
    assert '<a href="My-GAN"><img src="My-GAN/results/default/process.gif" alt="My-GAN" width="24%"></a>' in readme
    assert "| real images | 1.00 ± 0.50 |" in readme and "| [My-GAN](My-GAN) †<br>1,500 updates | 3.00 ±" in readme
    assert "† measured with an earlier version of the code; the model's page names the commit" in readme
    assert "† measured with an earlier version of the code: commit abc1234 (default)" in page
    assert "`python misc/seeds.py` (as typed then; defaults may have changed since)" in page
    assert 'src="../My-GAN/results/default/process.gif"' in (tmp_path / "misc" / "gallery.html").read_text()

    (mine / "README.md").write_text(page.replace("# My-GAN", "# Changed"))  # the owner's from now on
    write(mine, {"default": entry(fid=(5.0, 5.0, 5.0), code=tables.measured.code(mine))})
    assert run(tables, monkeypatch) == 0
    changed = (mine / "README.md").read_text()
    assert "# Changed" in changed and "| default<br>3 seeds, 1,500 updates | 5.00 ±" in changed and "†" not in changed


def test_check_writes_nothing(tables, tmp_path, monkeypatch, capsys):
    write(tmp_path / "A", {"default": entry()}, blocks("results"))
    assert run(tables, monkeypatch, "--check") == 2
    said = capsys.readouterr().err
    assert "tables.py: error: A/README.md, misc/gallery.html: not current;" in said and said.count("\n") == 1
    assert "old" in (tmp_path / "A" / "README.md").read_text() and not (tmp_path / "misc" / "gallery.html").exists()


def odd(**changes):
    changed = entry()
    for key, value in changes.items():
        if value is None:
            del changed[key]
        else:
            changed[key] = value
    return changed


ODD = {
    "other data": odd(runs=[{**entry()["runs"][0], "dataset": "fashion-mnist"}] * 3), "few": odd(images=100),
    "holdout": odd(runs=[{**entry()["runs"][0], "holdout": 9}] * 3), "scorer": odd(scorer="0"),
    "no runs": odd(runs=None), "no metrics": odd(metrics={}), "list": [], "text": "x", "null": None,
    "fewer runs": odd(runs=entry()["runs"][:1]),
    "mean": odd(metrics={"fid": {"mean": "1", "std": None, "seeds": [1, 2, 3]}}), "a/b": entry(), "a\x1bb": entry(),
    "nan": odd(metrics={"fid": {"mean": float("nan"), "std": None, "seeds": [1, 2, 3]}}), "command": odd(command=3),
    "course": odd(runs=[{**entry()["runs"][0], "course": [{"fid": 3, "losses": {"D": "x"}}]}] * 3),
    "minutes": odd(minutes={"minutes": "5", "threads": "1", "device": "x"}), "versions": odd(runs=[{}] * 3)}


def test_odd_results_are_left_out_with_a_line_each(tables, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "A"
    write(folder, {"default": entry()}, blocks("results", "runs"))
    (folder / "results" / "result.json").write_text(json.dumps({**ODD, "default": entry()}))
    for name, content in (("B", "["), ("C", "[]"), ("D", "[" * 100_000), ("E", "{}")):
        write(tmp_path / name, {})
        (tmp_path / name / "results" / "result.json").write_text(content)
    assert run(tables, monkeypatch) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(ODD) + 3 and all("\x1b" not in line for line in said)
    for variant in ODD:
        assert sum(f"A/results/result.json: {variant!r} is skipped: " in line for line in said) == 1, variant
    for name in "BCD":
        assert sum(f" {name}/results/result.json is skipped: it is damaged" in line for line in said) == 1
    page = (folder / "README.md").read_text()
    assert "| default †<br>3 seeds, 1,500 updates | 3.00 ± 0.50 |" in page
    assert page.count("**default**") == 1 and "few" not in page
    assert not (tmp_path / "B" / "README.md").exists()


def test_nothing_that_is_shown_is_trusted(tables, tmp_path, monkeypatch):
    bad = "a|b <script>alert(1)</script> [x](javascript:y) `c` & \"d\""
    odd = entry(commit=bad, command=bad)
    odd["metrics"][bad] = odd["metrics"]["fid"]
    for run_ in odd["runs"]:
        run_["device"] = bad
    write(tmp_path / "<i>|&", {"x|<b>": odd, "long": odd}, HEAD.format(title=bad, idea=bad) + blocks("results", "runs"))
    write(tmp_path / "<u>|", {"default": odd})
    (tmp_path / "README.md").write_text(blocks("strip", "models", "results", "variant x|<b>"))
    assert run(tables, monkeypatch) == 0
    pages = [tmp_path / "README.md", *tmp_path.glob("*/README.md")]
    assert len(pages) == 3
    for page in pages:
        text = page.read_text().split("-->", 1)[1]
        outside = re.sub(r"`[^`]*`", "", text.replace("\\`", ""))  # of code
        for tag in ("<script", "<b>a|", "<i>", "<u>"):
            assert tag not in outside, (page, tag)
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, table
    gallery = (tmp_path / "misc" / "gallery.html").read_text()
    assert gallery.count("<script") == 1 and "javascript:y)</a>" not in gallery and 'href="javascript' not in gallery
    assert '<a href="https://example.org/a_(b)">A 2018</a>' in gallery


def test_blocks(tables, tmp_path, monkeypatch):
    course = [{"fid": fid, "losses": {"D": -fid, "G": fid}} for fid in (9, 5, 4)]
    took = {"minutes": 5.26, "threads": 2, "device": "a CPU", "date": "2026-01-02"}
    write(tmp_path / "A", {"equal-time": entry(course=course), "long": entry(fid=(1.0, 2.0, 3.0), minutes=took)},
          HEAD.format(title="First", idea="It draws.") + blocks("results", "runs", "pictures"))
    own = entry()
    own["metrics"] = {"accuracy": {"mean": 0.98765, "std": 0.0123, "seeds": [0.9, 0.98, 1.0]}}
    write(tmp_path / "B", {"default": own}, blocks("results"), pictures=())
    write(tmp_path / "C", {"equal-time": entry(fid=(1.0, 1.0, 1.0))}, "")
    write(tmp_path / "misc", {"PCA": entry(), "real images": entry()}, blocks("baselines", "variant equal-time"))
    (tmp_path / "README.md").write_text(blocks("strip", "models", "results"))
    assert run(tables, monkeypatch) == 0
    readme, misc, a, b = ((tmp_path / name / "README.md").read_text() for name in ("", "misc", "A", "B"))

    assert ("| [First, long](A) †<br>1,500 updates, 5.3 min | 2.00 ± 0.50 | 6.50 ± 0.50 | 0.800 ± 0.500 |\n\n"
            "First: reported FID 6.8 ([A 2018](https://example.org/a_(b)))") in readme
    assert "min: minutes of training, with nothing else on the machine (a CPU, 2 threads)" in readme
    assert "| [B](B) †<br>1,500 updates | accuracy ↑ 0.9877 ± 0.0123 |\n" in readme
    assert readme.index("### GANs") < readme.index("### Yours")
    assert "It draws.<br>FID ↓ 2.00 ± 0.50 in features †, 5.3 min</td>" in readme
    assert "A/results/long/samples.png" in readme

    correlations = "D: -1.00, -1.00, -1.00"
    assert f"| [First](../A) † | 1,500 | 3.00 ± 0.50 | 6.50 ± 0.50 | 0.800 ± 0.500 | 1 of 3 | {correlations} |" in misc
    assert "| [C](../C) † | 1,500 | 1.00 ± 0.50 | 6.50 ± 0.50 | 0.800 ± 0.500 | 1 of 3 |  |" in misc
    assert misc.index("| real images<br>") < misc.index("| PCA<br>")

    assert a.index("| real images<br>") < a.index("| long †<br>") < a.index("| equal-time †<br>")
    assert "a CPU; 1 thread; bf16; torch 2.9; 2026-01-02; commit abc1234" in a
    for row in ("| seed | 0 | 1 | 2 |", "| FID ↓ | 1.00 | 2.00 | 3.00 |", "| seconds | 600 | 600 | 600 |"):
        assert row in a
    assert 'src="results/long/samples.png"' in a and "| default †<br>3 seeds, 1,500 updates | 0.9877 ± 0.0123 |" in b
    assert "real images" not in b


def test_only_whole_blocks_are_filled(tables, capsys):
    made = {"a": lambda: "new\nnew", "b": lambda: None}
    whole, unknown = "<!-- a: begin -->\n<!-- a: end -->\n", "<!-- c: begin -->\nc\n<!-- c: end -->\n"
    assert tables.fill(whole, made, "x") == "<!-- a: begin -->\nnew\nnew\n<!-- a: end -->\n"
    assert tables.fill(tables.fill(whole, made, "x"), made, "x") == tables.fill(whole, made, "x")
    assert tables.fill(whole.replace("\n", "\r\n"), made, "x").count("\r\n") == 4
    assert capsys.readouterr().err == ""
    broken = "<!-- a: begin -->\ntext\n" + whole
    assert tables.fill(broken, made, "x") == broken.replace(whole, tables.fill(whole, made, "x"))
    assert tables.fill(unknown, made, "x") == unknown and "'c'" in capsys.readouterr().err
    kept = "<!-- b: begin -->\nb\n<!-- b: end -->\n"
    assert tables.fill(kept, made, "x") == kept


def test_a_wide_table_is_split(tables):
    rows = [[str(i), *["123.45 ± 6.78"] * 9] for i in range(2)]
    parts = tables.table(["", *"abcdefghi"], rows).split("\n\n")
    assert len(parts) == 2 and all(part.splitlines()[2].startswith("| 0 | 123.45") for part in parts)


def test_each_part_of_a_result_has_a_row(tables):
    translated, of_parts = entry(), {"to b: FID": 3.0, "to a: FID": 5.0, "to a: label kept": 0.9}
    of_parts = {name: {"mean": mean, "std": None, "seeds": [mean]} for name, mean in of_parts.items()}
    translated["metrics"] |= of_parts
    whole, parts = tables.metric_table({"default": translated}, {"default": " †"}).split("\n\n")
    assert whole.splitlines()[0] == "|  | FID ↓ | IS ↑ | recall ↑ |"
    assert whole.splitlines()[2].startswith("| default †<br>3 seeds, 1,500 updates | 3.00 ± 0.50 |")
    assert parts.splitlines() == ["|  | FID ↓ | label kept ↑ |", "|---|---|---|", "| default †, to b | 3.000 |  |",
                                  "| default †, to a | 5.000 | 0.9000 |"]
    translated["metrics"] = of_parts
    lines = tables.metric_table({"default": translated}, {}).splitlines()
    assert lines[-1] == "| default, to a<br>3 seeds, 1,500 updates | 5.000 | 0.9000 |"


def test_numbers(tables):
    cell = tables.measured.cell
    metrics = {"nll": {"mean": float("inf"), "std": None}, "fid": {"mean": 2.0, "std": 1.414},
               "x": {"mean": 0, "std": 0}}
    shown = [cell({"metrics": metrics}, name) for name in (*metrics, "none")]
    assert shown == ["inf", "2.00 ± 1.41", "0.000 ± 0.000", ""]


def test_speed(tables, tmp_path, capsys):
    assert tables.speed(tmp_path) is None and "benchmark_cpu.json is damaged" in capsys.readouterr().err
    text = tables.speed(ROOT)
    result = json.loads((MISC / "results" / "benchmark_cpu.json").read_text())
    for figure in (f"{result['images_per_second']['ours']['median']:,.0f} (", f"{result['ratio']['median']:.2f} (",
                   f"{result['ranks']['2']:,.0f}", f"{result['gflop_per_image']:.2f} GFLOP an image", result["date"]):
        assert figure in text


def test_minutes_to_quality(tables, tmp_path, capsys):
    assert tables.quality(tmp_path) is None and "time_to_quality.json is damaged" in capsys.readouterr().err
    point = {"minutes": 30.4, "images": 9, "fid": 12.0}
    file = tmp_path / "misc" / "results" / "time_to_quality.json"
    file.parent.mkdir(parents=True)
    write_json(file, {
        "device": "a | processor", "threads": 1, "versions": {"torch": "2"}, "date": "today", "command": "c",
        "points": {"usual": [point]}, "minutes": {
            "20": {"ours": 2.0, "usual": 12.5, "ratio": 6.25, "at_least": False},
            "10": {"ours": 3.0, "usual": None, "ratio": 10.13, "at_least": True},
            "5": {"ours": None, "usual": None, "ratio": None, "at_least": True}}})
    rows = tables.quality(tmp_path).splitlines()
    assert rows[2:5] == ["| 20 | 2.0 min | 12.5 min | 6.2 |", "| 10 | 3.0 min | not in 30 min | > 10.1 |",
                         "| 5 | not reached | not in 30 min |  |"]
    assert "a \\| processor, 1 thread, torch 2" in rows[-1]
