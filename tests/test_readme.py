"""What the README says is there, and its figures are those of the result files."""

import json
import re
import statistics

from running import ROOT, TRAINABLE

from common.options import flag_of

README = (ROOT / "README.md").read_text()


def test_every_link_leads_to_a_file():
    links = re.findall(r'\]\(([^)#]+)\)|src="([^"]+)"', README)
    files = [a or b for a, b in links if not (a or b).startswith("http")]
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_flag_in_it_exists():
    sources = [folder / "train.py" for folder in TRAINABLE] + [*ROOT.glob("misc/*.py"), ROOT / "common" / "options.py"]
    text = "\n".join(file.read_text() for file in sources)
    known = {flag_of(field) for field in re.findall(r"^    (\w+): .* = .*  # ", text, re.MULTILINE)}
    known |= {"--help", "--nproc-per-node"}
    assert set(re.findall(r"--[a-z][a-z-]+", README)) <= known


def test_the_figures_of_speed_are_the_benchmarks():
    result = json.loads((ROOT / "misc" / "benchmark_cpu.json").read_text())
    best = max(result["product_gflops"].values())
    for which in ("ours", "usual"):
        rate, start = result["images_per_second"][which], result["start"][which]
        assert (f"| {rate['median']:,.0f} ({rate['min']:,.0f} to {rate['max']:,.0f}) "
                f"| {result['gflops'][which] / best:.0%} | {start['first_update_s']:.1f} s "
                f"| {start['peak_memory_mb']:,.0f} MB |") in README
    ratio, largest = result["ratio"], result["batch_sizes"][-1]
    assert f"ratio of the pairs is {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})" in README
    assert f"With batches of {largest['batch']} " in README
    assert f"there the ratio is {largest['ours'] / largest['usual']:.1f}" in README
    assert f"would train {best / result['gflop_per_image']:,.0f} images/s" in README
    assert f"(float32: {result['product_gflops']['fp32']:,.0f})" in README
    assert f"{result['date']}" in README and f"{best:,.0f} GFLOP/s" in README
    assert f"{result['gflop_per_image']:.2f} GFLOP an image" in README
    assert f"train {result['ranks']['2']:,.0f} images/s where one\ntrains {result['ranks']['1']:,.0f}" in README
    for name, values in result["ablation"].items():
        if name != "all on":
            share = values["median"] / result["ablation"]["all on"]["median"]
            assert f"| {name} | {share:.0%} |" in README
    assert statistics.median(result["ratio"]["pairs"]) == result["ratio"]["median"]


def test_the_figures_of_the_overview_are_the_results():
    """Those that misc/tables.py does not write: in the table of the models."""
    results = {model: json.loads((ROOT / model / "samples" / "result.json").read_text())
               for model in ("misc", "GAN", "LSGAN", "WGAN", "WGAN-GP", "AE", "VAE", "Adversarial_Autoencoder",
                             "Classification")}

    def mean(model, variant, name):
        return results[model][variant]["metrics"][name]["mean"]

    for name, label in (("fid", "FID"), ("is", "IS")):
        spread = results["GAN"]["default"]["metrics"][name]["std"]
        assert f"{label} {mean('GAN', 'default', name):.2f} ± {spread:.2f} (" in README
    assert f"(real images: {mean('misc', 'real images', 'fid'):.2f})" in README
    assert f"({mean('misc', 'real images', 'is'):.2f}), {len(results['GAN']['default']['seeds'])} seeds" in README
    for model, variant, after in (("LSGAN", "10-epochs", "10 epochs"),
                                  ("WGAN", "default", "20 epochs (1,860 updates of G)"),
                                  ("WGAN-GP", "default", "20 epochs (1,860 updates of G)")):
        entry = results[model][variant]
        fid, is_ = (entry["metrics"][name] for name in ("fid", "is"))
        assert f"{entry['runs'][0]['steps']:,} updates" in after or model == "LSGAN"
        assert (f"| FID {fid['mean']:.2f} ± {fid['std']:.2f}, IS {is_['mean']:.2f} ± {is_['std']:.2f}, "
                f"{len(entry['seeds'])} seeds of {after}") in README
        if variant == "default":
            each = (", ".join(f"{x:.{digits}f}" for x in values["seeds"]) for values, digits in ((fid, 1), (is_, 2)))
            assert "FID {}, IS {} (seeds 0, 1, 2)".format(*each) in " ".join(README.split())
    metrics = results["WGAN-GP"]["batch-64"]["metrics"]
    each = (", ".join(f"{x:.{digits}f}" for x in metrics[name]["seeds"]) for name, digits in (("fid", 1), ("is", 2)))
    assert "80 minutes: FID {}, IS {} (seeds 0, 1, 2)".format(*each) in " ".join(README.split())
    first = (f"{mean(model, 'equal-time', 'fid'):.2f}" for model in ("LSGAN", "GAN"))
    assert "(after 6: FID {}, the GAN {}) |".format(*first) in README
    accuracy = results["Classification"]["default"]["metrics"]["accuracy"]
    spread = f"{100 * accuracy['mean']:.2f} ± {100 * accuracy['std']:.2f}%"
    assert f"{spread} of the test images, {len(accuracy['seeds'])} seeds |" in README
    each = ", ".join(f"{100 * seed:.2f}%" for seed in accuracy["seeds"])
    assert f"{each} of the 10,000 test images ({spread})" in " ".join(README.split())
    error, pca = (mean("AE", "100d-linear", name) for name in ("squared error", "squared error of PCA"))
    spread = results["AE"]["100d-linear"]["metrics"]["squared error"]["std"]
    assert f"squared error {error:.2f} ± {spread:.2f} of a test image, PCA {pca:.2f} |" in README
    two, twenty = (f"{mean('VAE', variant, '-ELBO'):.1f} ± {results['VAE'][variant]['metrics']['-ELBO']['std']:.1f}"
                   for variant in ("2d", "20d"))
    seeds = len(results["VAE"]["2d"]["seeds"])
    assert f"-ELBO {two} nats with 2 dimensions, {twenty} with 20, {seeds} seeds |" in README
    apart = results["Adversarial_Autoencoder"]["donut"]["metrics"]["two-sample accuracy"]
    told = f"told apart in {apart['mean']:.2f} ± {apart['std']:.2f} of the cases"
    assert f"donut, {len(apart['seeds'])} seeds: codes and prior {told}" in README
