#!/usr/bin/env python3
"""Times the computation of `shoal bench --case mnist-pass` in NumPy, and a training by scikit-learn.

A pass computes loss and gradient of a 784-128-10 relu network over MNIST's 60,000 training images, in float32.
Prints one JSON object. Needs numpy, and scikit-learn for --train; see experiments/compare.
"""

import argparse
import gzip
import json
import statistics
import time
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent.parent / "coordinator/data/mnist"
HIDDEN = 128
REPETITIONS = 5
# The whole set at once, as in scikit-learn, and parts that stay in the caches: the faster one counts.
BATCHES = (60_000, 1024)


def load():
    with gzip.open(DATA / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(DATA / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images.astype(np.float32) / np.float32(255), labels


def gradient(weights, images, answers, batch):
    """The summed loss and gradient of softmax cross-entropy, in parts of `batch` images."""
    w1, b1, w2, b2 = weights
    sums = [np.zeros_like(block) for block in weights]
    loss = 0.0
    for start in range(0, len(images), batch):
        x, y = images[start : start + batch], answers[start : start + batch]
        hidden = x @ w1
        hidden += b1
        np.maximum(hidden, 0, out=hidden)
        scores = hidden @ w2
        scores += b2
        scores -= scores.max(axis=1, keepdims=True)
        probabilities = np.exp(scores)
        total = probabilities.sum(axis=1, keepdims=True)
        loss += float((np.log(total[:, 0]) - (scores * y).sum(axis=1)).sum())
        probabilities /= total
        probabilities -= y
        below = probabilities @ w2.T
        below *= hidden > 0
        for block, part in zip(sums, (x.T @ below, below.sum(0), hidden.T @ probabilities, probabilities.sum(0))):
            block += part
    return loss, sums


def measure_pass(images, labels):
    random = np.random.default_rng(1)
    uniform = lambda *shape: random.uniform(-0.08, 0.08, shape).astype(np.float32)
    weights = (uniform(784, HIDDEN), np.zeros(HIDDEN, np.float32), uniform(HIDDEN, 10), np.zeros(10, np.float32))
    answers = np.eye(10, dtype=np.float32)[labels]
    found = []
    for batch in BATCHES:
        gradient(weights, images, answers, batch)
        seconds = []
        for _ in range(REPETITIONS):
            began = time.perf_counter()
            gradient(weights, images, answers, batch)
            seconds.append(time.perf_counter() - began)
        found.append({"batch": batch, "seconds": min(seconds), "seconds_median": statistics.median(seconds)})
    return min(found, key=lambda one: one["seconds"])


def measure_training(images, labels):
    import warnings

    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")  # The warning is that 60 iterations are too few to converge.
    began = time.perf_counter()
    classifier = MLPClassifier((HIDDEN,), solver="lbfgs", max_iter=60, random_state=1).fit(images, labels)
    return {"seconds": time.perf_counter() - began, "iterations": classifier.n_iter_, "loss": classifier.loss_}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", action="store_true", help="also train scikit-learn's MLPClassifier for 60 iterations")
    arguments = parser.parse_args()
    images, labels = load()
    result = {"numpy": np.__version__, "pass": measure_pass(images, labels)}
    if arguments.train:
        result["training"] = measure_training(images, labels)
    print(json.dumps(result))
