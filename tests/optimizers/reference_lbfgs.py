#!/usr/bin/env python3
"""Prints the first ten accepted points of L-BFGS on the reference problems, from an independent implementation.

It follows the rules below rather than the product's code. The direction is the textbook two-loop recursion (Nocedal and
Wright, Numerical Optimization, 2nd ed., Algorithm 7.4) in f64 with NumPy. Needs only NumPy.

    python3 tests/optimizers/reference_lbfgs.py > tests/optimizers/iterates.json

The rules: m = 10 pairs, gamma = s'y / y'y. The first step length is min(1, 1 / ||g||) with an empty memory, else 1.
Accept if f <= f_k + 1e-4 alpha g'd. Otherwise, the losses at alpha/2 ... alpha/256 count as one evaluation, and the
best step that passes is taken. If none passes, forget the memory and take the steepest descent. Powell's damping
against B s = -alpha g_k: with s'y < 0.2 s'Bs, theta = 0.8 s'Bs / (s'Bs - s'y) and y = theta y + (1 - theta) Bs. Stop
at ||g|| / max(1, ||x||) <= 1e-8.
"""

import json
import pathlib

import numpy as np

MEMORY = 10
ARMIJO = 1e-4
DAMPING = 0.2
HALVINGS = 8
TOLERANCE = 1e-8
ITERATES = 10


def rosenbrock(x):
    valley, slope = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    gradient = np.zeros_like(x)
    gradient[:-1] = -400 * x[:-1] * valley - 2 * slope
    gradient[1:] += 200 * valley
    return np.sum(100 * valley**2 + slope**2), gradient


def rosenbrock_pairs(x):
    a, b = x[0::2], x[1::2]
    valley, slope = b - a**2, 1 - a
    gradient = np.empty_like(x)
    gradient[0::2] = -400 * a * valley - 2 * slope
    gradient[1::2] = 200 * valley
    return np.sum(100 * valley**2 + slope**2), gradient


def breast_cancer():
    path = pathlib.Path(__file__).parent.parent / "data" / "breast_cancer.csv"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    features, labels = table[:, :-1], np.where(table[:, -1] == 1, 1.0, -1.0)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    features = np.hstack([features, np.ones((len(features), 1))])

    def loss_and_gradient(x):
        margins = labels * (features @ x)
        loss = np.mean(np.logaddexp(0, -margins)) + 0.5e-3 * (x @ x)
        gradient = features.T @ (-labels / (1 + np.exp(margins))) / len(labels) + 1e-3 * x
        return loss, gradient

    return loss_and_gradient, features.shape[1]


def direction(pairs, g):
    q = g.copy()
    alphas = []
    for s, y in reversed(pairs):
        alpha = (s @ q) / (s @ y)
        q -= alpha * y
        alphas.append(alpha)
    if pairs:
        s, y = pairs[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - (y @ q) / (s @ y)) * s
    return -q


def damp(s, y, step, g):
    b_s = -step * g
    s_b_s = s @ b_s
    if s_b_s > 0 and s @ y < DAMPING * s_b_s:
        theta = (1 - DAMPING) * s_b_s / (s_b_s - s @ y)
        y = theta * y + (1 - theta) * b_s
    return y


def minimize(function, x):
    """All accepted points, and the number of evaluations until convergence."""
    f, g = function(x)
    evaluations, points, pairs = 1, [], []
    while np.linalg.norm(g) > TOLERANCE * max(1.0, np.linalg.norm(x)):
        d = direction(pairs, g)
        step = 1.0 if pairs else min(1.0, 1.0 / np.linalg.norm(g))
        f_new, g_new = function(x + step * d)
        evaluations += 1
        if not f_new <= f + ARMIJO * step * (g @ d):
            shorter = [step / 2**k for k in range(1, HALVINGS + 1)]
            losses = [function(x + length * d)[0] for length in shorter]
            evaluations += 1
            passing = [(loss, -length) for loss, length in zip(losses, shorter) if loss <= f + ARMIJO * length * (g @ d)]
            if not passing:
                assert pairs, "the steepest descent must pass on these problems"
                pairs = []
                continue
            step = -min(passing)[1]
            f_new, g_new = function(x + step * d)
            evaluations += 1
        x_new = x + step * d
        s = x_new - x
        y = damp(s, g_new - g, step, g)
        if s @ y > 0:
            pairs = (pairs + [(s, y)])[-MEMORY:]
        x, f, g = x_new, f_new, g_new
        points.append(x)
    return points, evaluations


def main():
    start = lambda n: np.tile([-1.2, 1.0], n // 2)
    logistic, columns = breast_cancer()
    problems = {
        "rosenbrock": (rosenbrock, start(2)),
        "chained rosenbrock of ten": (rosenbrock, start(10)),
        "fifty rosenbrock pairs": (rosenbrock_pairs, start(100)),
        "breast cancer logistic regression": (logistic, np.zeros(columns)),
    }
    results = {}
    for name, (function, x) in problems.items():
        points, evaluations = minimize(function, x)
        results[name] = {
            "iterations": len(points),
            "evaluations": evaluations,
            "iterates": [point.tolist() for point in points[:ITERATES]],
        }
    entries = []
    for name, result in results.items():
        rows = ",\n".join("      " + json.dumps(point) for point in result["iterates"])
        counts = f'"iterations": {result["iterations"]}, "evaluations": {result["evaluations"]}'
        entries.append(f'  {json.dumps(name)}: {{\n    {counts},\n    "iterates": [\n{rows}\n    ]\n  }}')
    print("{\n" + ",\n".join(entries) + "\n}")


main()
