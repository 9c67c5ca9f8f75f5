"""How often a classifier is right, about what, and whether it knows: counts and rates, on arrays alone."""

import numpy as np


def confusion_matrix(labels, predictions, n_classes):
    """Counts K (C, C): K_ij samples of class i were taken for class j. labels, predictions: integers (n,)."""
    flat = np.bincount(np.asarray(labels) * n_classes + np.asarray(predictions), minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def precision_recall_f1(confusion):
    """Three arrays (C,) of a confusion matrix K, rows true and columns predicted:

        precision_c = K_cc / Σ_i K_ic      of what is called c, the share that is c
        recall_c    = K_cc / Σ_j K_cj      of what is c, the share that is called c
        F1_c        = 2 K_cc / (Σ_i K_ic + Σ_j K_cj)    their harmonic mean

    A rate of nothing, 0/0, is 0, as in scikit-learn.
    """
    right, called, are = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    return tuple(np.divide(above, below, out=np.zeros(len(confusion)), where=below > 0)
                 for above, below in ((right, called), (right, are), (2 * right, called + are)))


def reliability(confidences, correct, bins=10):
    """How far the confidence of a classifier, its largest probability, is the share of times that it is right.

    confidences: (n,) in [0, 1]; correct: booleans (n,). The interval from 0 to 1 is cut into `bins`
    equal ones, open at the left and closed at the right. Returns a dict with a number per bin:
    `edges` (bins + 1), `count`, `confidence` and `accuracy` (means over the bin; None where it is
    empty), and the expected calibration error over all n samples (Guo et al. 2017)

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
