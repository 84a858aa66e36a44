"""What is measured and drawn of a classifier: its accuracy, and where it errs."""

import torch

from common import evaluating
from common.images import captioned, figure


def predict(net, data):
    """Probabilities (N, classes) of a whole data set, in eval mode."""
    with evaluating(net):
        return torch.cat([net(x).softmax(1) for x, _ in data.batches(1000)])


def accuracy(net, data):
    return (predict(net, data).argmax(1) == data.labels).float().mean()


def confusion_matrix(labels, predicted, classes):
    """Figure of how often each class (row) was taken for each (column). labels, predicted: int64 (N,)."""
    from sklearn.metrics import ConfusionMatrixDisplay

    few = len(classes) <= 20  # else colours take the place of numbers, and names are small
    fig, ax = figure(6.4, 6.0) if few else figure(9.6, 9.0)
    ConfusionMatrixDisplay.from_predictions(labels.tolist(), predicted.tolist(), labels=range(len(classes)),
                                            display_labels=classes, ax=ax, cmap="Blues", colorbar=not few,
                                            include_values=few,
                                            xticks_rotation=90 if len(max(classes, key=len)) > 2 else 0)
    if not few:
        ax.tick_params(labelsize=max(2, 500 / len(classes)))
    ax.set(xlabel="predicted", ylabel="label")
    return fig


def draw(run, nets):
    """After a training, or from a checkpoint."""
    test = run.test
    confidence, predicted = predict(nets["net_ema"], test).max(1)
    run.record({"accuracy": (predicted == test.labels).float().mean()})
    run.save("confusion", confusion_matrix(test.labels, predicted, test.classes))
    wrong = (predicted != test.labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True)][:40]  # the most confident first
    captions = [f"{test.classes[test.labels[i]]}, not {test.classes[predicted[i]]}" for i in wrong]
    run.save("wrong", captioned(test.images[wrong], captions, "label, not prediction: the most confident errors"))


def diagram(parts, nets):
    """Its structure, for img_src/draw.py, which hands over what to draw with and the networks."""
    x = torch.zeros(1, 1, 32, 32)
    net = parts.Net("Network", nets["net"], x)
    logits = parts.variable("logits", net.output)
    cross_entropy = parts.loss("The network descends the cross-entropy",
                               r"$-\log\,\mathrm{softmax}(\mathrm{logits})_y$")
    drawing = parts.Diagram(columns=6)
    drawing.row(parts.variable("$x$", x, "image"), net, logits)
    drawing.row(parts.variable("$y$", note="label"), cross_entropy)
    drawing.arrow(logits.at("bottom"), cross_entropy.at("top", logits.at("top").x))
    drawing.arrow(cross_entropy.at("top", net.at("top").x), net.at("bottom"), update=True)
    return drawing
