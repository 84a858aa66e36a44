"""UNIT: Unsupervised Image-to-Image Translation Networks, Liu et al. 2017 (arXiv 1703.00848).

Two domains, a and b, have one space of codes: an encoder E of each gives the mean mu of a code z ~ N(mu, I), a
decoder G of each makes an image of it, and both share the layers next to the code. What a becomes in b is G_b(E_a(a)).
E and G descend, for a, and for b alike (equations 2 to 6, with KL = |mu|^2 / 2, and L1 for the likelihoods):

    VAE    lambda_1 KL(E_a(a)) + lambda_2 |a - G_a(z_a)|
    GAN    lambda_0 (-log D_b(G_b(z_a)))
    cycle  lambda_3 (KL(E_a(a)) + KL(E_b(G_b(z_a)))) + lambda_4 |a - G_a(z_aba)|,    z_aba ~ N(E_b(G_b(z_a)), I)

while D_a and D_b tell translations from real images.

Departures:
- L1 and KL are means over pixels and over dimensions (the paper: of the likelihood, which are sums); images lie in
  [0, 1] behind a sigmoid, so lambda_2 and lambda_4 are 200 (tanh, 100).
- Networks for 32 x 32: one residual block each in E and G (the paper: four); E ends without normalisation; D sees all.
- Adam 5e-4, falling at the end, betas (0, 0.99), batches of 32 (1e-4, (0.5, 0.999), 1); first weights after He et al.
- Translations come from moving averages of E and G, and of mu.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import moving_average

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """Translation between two domains by codes that they share, 32 x 32."""

    paired = False  # no digit is in both domains
    pair: str = "edges"  # the two domains: a, the data set, and b, a map of its other half; or mnist-usps
    epochs: Count = 4  # passes over the training images of a
    batch_size: Count = 32  # images of each domain in one batch, over all ranks together
    gan: NonNegative = 10.0  # lambda_0: weight of the GAN terms
    kl: NonNegative = 0.1  # lambda_1: weight of KL
    l1: NonNegative = 200.0  # lambda_2: weight of the reconstructions
    cycle_kl: NonNegative = 0.1  # lambda_3: weight of KL on the way back
    cycle: NonNegative = 200.0  # lambda_4: weight of what comes back
    shared: bool = True  # share the layers next to the codes; --no-shared: a control
    lr: Positive = 5e-4  # Adam's learning rate, of all networks
    lr_fall: Share = 0.5  # the share of the run, at its end, over which it falls linearly to 0
    beta1: Decay = 0.0  # Adam's decay of the gradient's mean
    beta2: Decay = 0.99  # Adam's decay of the gradient's square
    width: Count = 32  # channels of E's first and G's last hidden stage
    d_width: Count = 32  # channels of the discriminators' first stages
    d_stages: Count = 3  # their halvings: 1, 2 or 3 give patches of 8, 18 or 38 pixels
    ema: Decay = 0.999  # decay of the moving averages of E and G that translate; 0: E and G themselves


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, width=opt.width, d_width=opt.d_width, d_stages=opt.d_stages, shared=opt.shared,
                       average=opt.ema > 0, **run.image)
    E, G, D_a, D_b = (nets[name] for name in ("E", "G", "D_a", "D_b"))
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_g = run.optimizer(Adam, E, G, lr=lr, betas=(opt.beta1, opt.beta2))
    adam_d = run.optimizer(Adam, D_a, D_b, lr=lr, betas=(opt.beta1, opt.beta2))

    def z(mu):
        return mu + torch.randn_like(mu)

    def kl(mu):  # of N(mu, I) from N(0, I), a dimension
        return mu.square().mean() / 2

    @run.step
    def update(a, b):
        mu_a, mu_b = E(a, "a"), E(b, "b")
        z_a, z_b = z(mu_a), z(mu_b)
        fake_b, fake_a = G(z_a, "b"), G(z_b, "a")
        mu_aba, mu_bab = E(fake_b, "b"), E(fake_a, "a")

        # E and G descend the six terms
        same = (G(z_a, "a") - a).abs().mean() + (G(z_b, "b") - b).abs().mean()
        again = (G(z(mu_aba), "a") - a).abs().mean() + (G(z(mu_bab), "b") - b).abs().mean()
        vae = opt.kl * (kl(mu_a) + kl(mu_b)) + opt.l1 * same
        cycle = opt.cycle_kl * (kl(mu_a) + kl(mu_b) + kl(mu_aba) + kl(mu_bab)) + opt.cycle * again
        g_loss = bce(D_b(fake_b), 1) + bce(D_a(fake_a), 1)
        descend((adam_g, vae + opt.gan * g_loss + cycle))

        # D_a and D_b ascend log D(real) + log(1 - D(translation))
        d_loss = bce(D_a(a), 1) + bce(D_a(fake_a.detach()), 0) + bce(D_b(b), 1) + bce(D_b(fake_b.detach()), 0)
        descend((adam_d, d_loss))

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            for name in "EG":
                moving_average(nets[f"{name}_ema"], nets[name], torch.clamp(t / (t + 10), max=opt.ema))
        return {"VAE": vae, "cycle": cycle, "G": g_loss, "D": d_loss, "KL": kl(mu_a) + kl(mu_b), "L1": same,
                "L1 of cycles": again}

    for a, _, b, _ in run.batches():
        run.log(update(a, b))
        run.show(lambda: figures.translated(run, nets))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()
