"""Confusion matrix, precision, recall, F1 and calibration of a classifier, from arrays."""

import math

import numpy as np


def confusion_matrix(labels, predictions, n_classes):
    """Counts K (C, C): K_ij samples of class i were predicted as class j. labels, predictions: integers (n,)."""
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predictions), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def precision_recall_f1(confusion):
    """Three arrays (C,) of a confusion matrix K with rows of true and columns of predicted classes:

        precision_c = K_cc / Σ_i K_ic      the share of the predictions c that are correct
        recall_c    = K_cc / Σ_j K_cj      the share of the samples of class c that are predicted as c
        F1_c        = 2 K_cc / (Σ_i K_ic + Σ_j K_cj)    their harmonic mean

    0/0 gives 0, as in scikit-learn.
    """
    right, called, are = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return tuple(np.divide(above, below, out=np.zeros(len(confusion)), where=below > 0)
                 for above, below in ((right, called), (right, are), (2 * right, called + are)))


def reliability(confidences, correct, bins=10):
    """The calibration of a classifier: its accuracy in bins of equal width of its highest predicted probability.

    confidences: (n,) in [0, 1]; correct: booleans (n,). A bin is open at the left and closed at the right.
    Returns a dict with `edges` (bins + 1), `count`, `confidence` and `accuracy` (means over each bin, None if
    it is empty), and the expected calibration error over all n samples (Guo et al. 2017)

        ece = Σ_b count_b / n · |accuracy_b − confidence_b| .
    """
    edges = np.linspace(0, 1, bins + 1)
    index = np.searchsorted(edges[1:-1], confidences)
    count, confidence_sum, correct_sum = (np.bincount(index, weights, bins) for weights in (None, confidences, correct))
    return {
        'edges': edges.tolist(),
        'count': count.tolist(),
        'confidence': _means(confidence_sum, count),
        'accuracy': _means(correct_sum, count),
        'ece': float(np.abs(correct_sum - confidence_sum).sum() / len(confidences)),
    }


def _means(sums, counts):
    return [float(total / count) if count else None for total, count in zip(sums, counts)]


def ece_interval(confidences, correct, resamples=1000):
    """The 95 % interval of `ece` by the percentile bootstrap over the samples; always the same for the same arrays."""
    rng = np.random.default_rng(0)
    n = len(confidences)
    eces = [reliability(confidences[sample], correct[sample])['ece']
            for sample in (rng.integers(n, size=n) for _ in range(resamples))]
    return np.quantile(eces, [0.025, 0.975]).tolist()


def wilson_interval(rate, n, z=1.96):
    """The 95 % interval of a rate measured on n samples (Wilson 1927)."""
    center = rate + z**2 / (2 * n)
    margin = z * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return [(center - margin) / (1 + z**2 / n), (center + margin) / (1 + z**2 / n)]
