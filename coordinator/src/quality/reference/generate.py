#!/usr/bin/env python3
"""Makes figures.json, the expected values of the tests of `coordinator/src/quality`, with scikit-learn.

pip install scikit-learn==1.9.1; python3 generate.py > figures.json
"""

import json
import warnings

import numpy as np
from sklearn import metrics

warnings.filterwarnings("ignore")
BINS = 15


def calibration_error(truth, probabilities):
    """Guo et al., 2017, as published: sum over bins of |B| / n * |accuracy(B) - confidence(B)|."""
    confidence, named = probabilities.max(1), probabilities.argmax(1)
    edges = np.arange(BINS + 1) / BINS
    error = 0.0
    for low, high in zip(edges, edges[1:]):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            error += inside.mean() * abs((named == truth)[inside].mean() - confidence[inside].mean())
    return error


def classes_case(truth, probabilities):
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, np.float32)
    exact = probabilities.astype(np.float64)
    count, named = exact.shape[1], exact.argmax(1)
    labels = list(range(count))
    areas = [
        metrics.roc_auc_score(truth == k, exact[:, k]) if 0 < (truth == k).sum() < len(truth) else None
        for k in labels
    ]
    known = [(area, (truth == k).sum()) for k, area in enumerate(areas) if area is not None]
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, named, labels=labels)
    means = {
        mean: metrics.precision_recall_fscore_support(truth, named, average=mean)[:3]
        for mean in ("macro", "weighted")
    }
    shares = np.bincount(truth, minlength=count) / len(truth)
    return {
        "truth": truth.tolist(),
        "probabilities": [[float(value) for value in row] for row in exact],
        "accuracy": metrics.accuracy_score(truth, named),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, named),
        "roc_auc": areas[1] if count == 2 else float(np.mean([area for area, _ in known])),
        "roc_auc_weighted": areas[1] if count == 2 else float(np.average([a for a, _ in known], weights=[w for _, w in known])),
        "expected_calibration_error": calibration_error(truth, exact),
        "macro": means["macro"],
        "weighted": means["weighted"],
        "by_class": [list(row) for row in zip(precision, recall, f1, areas)],
        "trivial_accuracy": shares.max(),
        "trivial_log_loss": metrics.log_loss(truth, np.tile(shares, (len(truth), 1)), labels=labels),
        "confusion": metrics.confusion_matrix(truth, named, labels=labels).tolist(),
    }


def numbers_case(truth, answers):
    truth, answers = np.asarray(truth, np.float32), np.asarray(answers, np.float32)
    wide, found = truth.astype(np.float64), answers.astype(np.float64)
    mean = np.full(len(wide), wide.mean())
    return {
        "truth": [float(value) for value in truth],
        "answers": [float(value) for value in answers],
        "rmse": metrics.mean_squared_error(wide, found) ** 0.5,
        "mae": metrics.mean_absolute_error(wide, found),
        "r2": metrics.r2_score(wide, found),
        "mean_rmse": metrics.mean_squared_error(wide, mean) ** 0.5,
        "mean_mae": metrics.mean_absolute_error(wide, mean),
    }


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def main():
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 3, 40)
    three = softmax(rng.normal(size=(40, 3)) + 1.5 * np.eye(3)[truth])
    skewed = (rng.random(30) < 0.15).astype(int)
    two = softmax(rng.normal(size=(30, 2)) + np.eye(2)[skewed] + [1.0, 0.0])
    # A class without examples and one that is never named; coarse probabilities, so that many are equal.
    coarse = rng.integers(0, 2, 24) * 2
    rough = np.round(softmax(rng.normal(size=(24, 4)) + [1.0, 0.5, 1.0, -9.0]) * 8) / 8
    sure = np.eye(3)[[0, 1, 2, 1]]
    number = rng.normal(size=25)
    print(
        json.dumps(
            {
                "classes": [
                    classes_case(truth, three),
                    classes_case(skewed, two),
                    classes_case(coarse, rough),
                    classes_case([0, 1, 2, 1], sure),
                ],
                "numbers": [
                    numbers_case(number, number + 0.3 * rng.normal(size=25)),
                    numbers_case(number, rng.normal(size=25)),
                ],
            },
            default=float,
        )
    )


main()
