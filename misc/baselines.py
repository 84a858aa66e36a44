"""Generators that any model must beat, scored like one by misc/seeds.py: real images, PCA, an untrained GAN."""

import torch
from generate import draw

from common.models import load_file
from misc.places import ROOT


def gaussian_in_pca_space(train, n, components, seed):
    """n images, uint8, of x = mean + W z with z from the normal distribution that the training images have in the space
    of their first principal components (W: (components, pixels))."""
    from sklearn.decomposition import PCA

    pca = PCA(components, svd_solver="covariance_eigh").fit(train.flatten(1).float().numpy() / 255)
    z = torch.randn(n, components, generator=torch.Generator().manual_seed(seed)).numpy()
    x = pca.mean_ + (z * pca.explained_variance_ ** 0.5) @ pca.components_
    return (torch.from_numpy(x).clamp(0, 1) * 255).round().byte().view(n, *train.shape[1:])


def untrained_gan(train, n, seed):
    """n images, uint8, of the GAN's networks as they are before the first update."""
    model = load_file(ROOT / "GAN" / "model.py")
    torch.manual_seed(seed)
    images, _ = draw(model, model.build(channels=train.shape[1]), n, seed)
    return images


# variant -> a function of (training images, n, seed) that returns images, uint8 (n, C, H, W); None: real images
BASELINES = {
    "real images": None,
    "PCA, 50 components": lambda train, n, seed: gaussian_in_pca_space(train, n, 50, seed),
    "PCA, 100 components": lambda train, n, seed: gaussian_in_pca_space(train, n, 100, seed),
    "untrained GAN": untrained_gan,
}
