"""What all pages say is there: generated blocks are current, links lead to files, flags exist."""

import json
import re
import subprocess
import sys
from urllib.parse import unquote

import pytest
from running import ROOT, TRAINABLE

from common.models import load_file
from common.options import flag_of

MISC = ROOT / "misc"
PAGES = sorted({*ROOT.glob("README.md"), *ROOT.glob("[!.]*/README.md"), *ROOT.glob("misc/*/README.md")})
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def test_generated_blocks_are_current():
    """Those of all pages and the gallery, and none of the results that are committed is left out."""
    done = subprocess.run([sys.executable, MISC / "tables.py", "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@each_page
def test_every_link_leads_to_a_file(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r'\]\(([^)\s]+)\)|(?:src|href)="([^"]+)"', text)
    targets = [unquote(target.split("#")[0]) for pair in links for target in pair if target]
    files = [target for target in targets if not re.match(r"https?:", target)]
    assert [file for file in files if not (page.parent / file).exists()] == []


@each_page
def test_every_flag_in_it_exists(page):
    sources = [*(folder / "train.py" for folder in TRAINABLE), *MISC.glob("*.py"), *MISC.glob("studies/*.py"),
               ROOT / "common" / "options.py"]
    text = "\n".join(file.read_text() for file in sources)
    known = {flag_of(field) for field in re.findall(r"^    (\w+): .* = .*  # ", text, re.MULTILINE)}
    known |= {f"--no{flag_of(field)[1:]}" for field in re.findall(r"^    (\w+): bool = True", text, re.MULTILINE)}
    known |= {"--help", "--nproc-per-node"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", page.read_text())) <= known


@each_page
def test_what_its_head_names_was_measured(page, monkeypatch):
    monkeypatch.syspath_prepend(str(MISC))
    head, file = load_file(MISC / "measured.py").read_head(page), page.parent / "results" / "result.json"
    if not head or not file.exists():
        return
    entries = json.loads(file.read_text())
    variant = head.get("variant", "default")
    assert variant in {*entries, "default"}
    if variant in entries:
        assert head.get("figure", "fid") in {*entries[variant]["metrics"], "fid"}
        assert "picture" not in head or (page.parent / "results" / variant / head["picture"]).exists()


def test_the_main_page_is_short():
    content = (ROOT / "README.md").read_bytes()
    assert len(content.splitlines()) <= 200 and len(content) <= 20_000
