"""VAE-GAN: Autoencoding beyond Pixels Using a Learned Similarity Metric, Larsen et al. 2016 (arXiv 1512.09300).

A VAE and a GAN share G, the decoder. How far an image x~ is from x is measured by D's features f instead of pixels.
Algorithm 1, with x~ = G(z), z ~ q(z|x) by the encoder E, and x_p = G(z_p), z_p ~ N(0, I); all losses before any step:

    L_prior = KL(q(z|x) || N(0, I))      L_like = -log N(f(x); f(x~), s I) = |f(x) - f(x~)|^2 / (2 s)      (4, 7)
    L_GAN = log D(x) + (log(1 - D(x~)) + log(1 - D(x_p))) / 2                                        (equation 10)

    E descends L_prior + L_like        G descends gamma L_like - L_GAN        D ascends L_GAN

Two other forms, on the same networks, for comparison (--form): pixels, a VAE with |x - x~|^2 / 2, without D; features,
a VAE with f of a D that learns beside it.
Departures:
- The two generated images have the weight 1/2 each; G ascends log D instead of descending log(1 - D).
- s is 6 (the paper: 1), as D has thousands of features; gamma is 6e-3 (the authors' code: 1e-6 for its images).
- D sees images with noise of standard deviation 0.2 on them, x and x~ with the same (--instance-noise 0: none).
- Adam, 1e-3, falling at the end, betas (0, 0.99) (the paper: RMSprop); batches of 32 (64).
- Samples come from a moving average of G, codes from one of E (--ema 0: from G and E).
--balance: D stands still while its loss, of an image, is less than half of G's, G while its is less than half of D's.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.optim import Adam

sys.path.insert(0, next(str(folder) for folder in Path(__file__).resolve().parents if (folder / "common").is_dir()))
from common import BaseOptions, Count, Decay, NonNegative, Positive, Run, Share, bce, beside, descend
from common import moving_average, noise_like

model, figures = beside(__file__, "model"), beside(__file__, "figures")


@dataclass
class Options(BaseOptions):
    """VAE whose error is measured by the D of a GAN, on 32 x 32 images."""

    epochs: Count = 5  # passes over the training set
    batch_size: Count = 32  # images in one batch, over all ranks together
    form: Literal["vae-gan", "pixels", "features"] = "vae-gan"  # the losses, see above
    latent_dim: Count = 20  # dimension of z
    stage: Literal[2, 3] = 3  # of D, the one that gives the features
    variance: Positive = 6.0  # s, of features around those of x~
    gamma: NonNegative = 6e-3  # weight of L_like in G's loss
    instance_noise: NonNegative = 0.2  # standard deviation of the noise on the images, real or not, that D sees
    balance: bool = False  # leave out steps of D or G where it is far ahead
    lr: Positive = 1e-3  # Adam's learning rate, of all
    lr_fall: Share = 0.25  # the share of the run, at its end, over which it falls linearly to 0
    g_width: Count = 48  # channels of G's last stage
    width: Count = 32  # channels of the first stage of E and D
    ema: Decay = 0.999  # decay of the moving averages that samples and codes come from; 0: from G and E themselves


def main():
    run = Run(Options, __file__)
    opt = run.options
    nets = run.networks(model.build, latent_dim=opt.latent_dim, width=opt.width, g_width=opt.g_width, stage=opt.stage,
                       average=opt.ema > 0, **run.image)
    E, G, D = nets["E"], nets["G"], nets["D"]
    t = run.tensor("t", 0.0)  # updates so far, a tensor so that the update can be one CUDA graph
    lr = run.schedule(lambda share: opt.lr * min(1, (1 - share) / opt.lr_fall))  # share: of the run, done
    adam_e, adam_g, adam_d = (run.optimizer(Adam, net, lr=lr, betas=(0.0, 0.99)) for net in (E, G, D))
    z_fixed = run.noise(100, opt.latent_dim)

    def half_square(a, b):  # |a - b|^2 / 2, the mean over the images
        return 0.5 * (a - b).square().flatten(1).sum(1).mean()

    @run.step
    def update(x):
        z_p, epsilon = noise_like(x, opt.latent_dim), noise_like(x, opt.latent_dim)
        mu, logvar = E(x)
        back = G(mu + (logvar / 2).exp() * epsilon)  # x~
        prior = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(1).mean()

        if opt.form == "pixels":
            like = half_square(back, x)
            descend((adam_e, prior + like), (adam_g, like))
            losses = {"prior": prior, "like": like}
        else:
            noise, another = (opt.instance_noise * torch.randn_like(x) for _ in range(2))
            (real, f), (of_back, f_back), (of_fake, _) = D(x + noise), D(back + noise), D(G(z_p) + another)
            like = half_square(f_back, f) / opt.variance
            d_loss = bce(real, 1) + (bce(of_back, 0) + bce(of_fake, 0)) / 2
            gan = (bce(of_back, 1) + bce(of_fake, 1)) / 2
            g_loss = like if opt.form == "features" else opt.gamma * like + gan
            d_moves = g_moves = 1
            if opt.balance:  # of one image, D's loss is d_loss / 2; a loss of 0 moves nothing, as beta1 is 0
                d_moves, g_moves = d_loss.detach() >= gan.detach(), 4 * gan.detach() >= d_loss.detach()
            descend((adam_e, prior + like), (adam_g, g_moves * g_loss), (adam_d, d_moves * d_loss))
            losses = {"prior": prior, "like": like, "D": d_loss, "G": gan, "D(x)": real.sigmoid().mean(),
                      "D(G(z))": of_fake.sigmoid().mean()}

        t.add_(1)
        if opt.ema:  # with decay min(ema, t / (t + 10)): a shorter average at first, when G changes fastest
            for name in "GE":
                moving_average(nets[f"{name}_ema"], nets[name], torch.clamp(t / (t + 10), max=opt.ema))
        return losses

    for x, _ in run.batches():
        run.log(update(x))
        run.show(lambda: model.sample(nets, len(z_fixed), z=z_fixed))

    figures.draw(run, nets)


if __name__ == "__main__":
    main()
