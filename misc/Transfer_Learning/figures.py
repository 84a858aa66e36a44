"""What is measured of transfer learning."""

from common import evaluating


def accuracy(features, layer, data):
    """The share of a data set's images whose label the network layer(features) names."""
    with evaluating(features, layer):
        right = sum((layer(features(x)).argmax(1) == label).sum() for x, label in data.batches(1000))
    return (right / len(data)).item()
