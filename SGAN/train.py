"""SGAN: Semi-Supervised Learning with Generative Adversarial Networks, Odena 2016 (arXiv 1606.01583), and what Improved
Techniques for Training GANs, Salimans et al. 2016 (arXiv 1606.03498, section 5), made of it.

D is a classifier of K classes with one more, FAKE, for what G makes. Only a few images have a label y; with --form

    labelled     D descends -log p(y|x) - log p(FAKE|G(z)) and G ascends it (SGAN, algorithm 1)
    unlabelled   D descends -log p(y|x, not FAKE) - log(1 - p(FAKE|x')) - log p(FAKE|G(z)), x' any image;
                 G descends -log(1 - p(FAKE|G(z)))
    matching     D as before; G descends |E f(x') - E f(G(z))|^2, f the features of D's last layer but one (section 3.1)
    classifier   D descends -log p(y|x, not FAKE) alone, and there is no G: what all this is held against

Departures (of the last two from Improved GAN's code, whose dense networks all four have):
- The networks are narrower (--width 1000: as wide), ReLU in G (softplus); the length of D's weights is fixed.
- D's step and G's share z and x'; z ~ N(0, I) (uniform there). FAKE has a logit of its own (0).
- The terms of the images without a label have the weight 1, as in the paper (its code: 0.5).
- Adam, 2e-3, falling to 0 over the second half (3e-3, constant), for 15,000 updates (180,000).
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, Positive, Run, Share, beside, descend, moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Classifier of 32 x 32 images, few of them labelled, that learns from a generator."""

    epochs: Count = 25  # passes over the training set
    batch_size: Count = 100  # images of a kind in one batch: labelled, any, generated
    form: Literal["classifier", "labelled", "unlabelled", "matching"] = "matching"  # the losses, see above
    labels: Count = 100  # images with a label, as many of each class, or one more
    latent_dim: Count = 100  # dimension of z
    width: Count = 400  # units of D's first layer
    lr: Positive = 2e-3  # Adam's learning rate, of G and of D
    lr_fall: Share = 0.5  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.5  # Adam's decay of the gradient's mean
    ema: Decay = 0.999  # decay of the moving average of D that is tested


def main():
    run = Run(Options, __file__)
    opt = run.options
    few = run.train.stratified(opt.labels, opt.seed)  # the only images whose labels are used
    nets = run.networks(model.build, latent_dim=opt.latent_dim, classes=len(run.train.classes),
                       width=opt.width, **run.image)
    G, D = nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, G, lr=lr, betas=(opt.beta1, 0.999))
    adam_d = run.optimizer(Adam, D, lr=lr, betas=(opt.beta1, 0.999))
    z_fixed = run.noise(100, opt.latent_dim)

    def log_fake(logits):  # log p(FAKE|x), the mean over the images
        return logits.log_softmax(1)[:, -1].mean()

    def log_real(logits):  # log(1 - p(FAKE|x))
        return logits.log_softmax(1)[:, :-1].logsumexp(1).mean()

    @run.step
    def update(x, few_x, y):
        # D descends -log p(y|x), with FAKE among the classes or not, and the terms of the images without a label
        logits = D(few_x)[0]
        terms = {"class": F.cross_entropy(logits if opt.form == "labelled" else logits[:, :-1], y)}
        if opt.form != "classifier":
            fake = G(noise_like(x, opt.latent_dim))  # z ~ N(0, I)
            terms["fake"] = -log_fake(D(fake.detach())[0])
        if opt.form in ("unlabelled", "matching"):
            terms["real"] = -log_real(D(x)[0])
        descend((adam_d, sum(terms.values())))
        D.fix_lengths()

        # G
        if opt.form != "classifier":
            logits, features = D(fake)
            if opt.form == "labelled":
                g_loss = log_fake(logits)
            elif opt.form == "unlabelled":
                g_loss = -log_real(logits)
            else:
                g_loss = (D(x)[1].mean(0) - features.mean(0)).square().sum()
            descend((adam_g, g_loss))
            terms["G"] = g_loss

        t.add_(1)
        moving_average(nets["D_ema"], D, torch.clamp(t / (t + 10), max=opt.ema))
        return terms

    for x, _, few_x, y in run.batches(also=few):
        run.log(update(x, few_x, y))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))
        run.curve("accuracy", lambda: {"test": figures.accuracy(nets, run.test)})

    figures.draw(run, nets)


if __name__ == "__main__":
    main()
