#!/usr/bin/env python3
"""Measures fine-tuning: a convolutional network learns the digits 0 to 4 of MNIST, then 5 to 9 from few examples.

    experiments/fine_tuning.py target/release/shoal --examples 5 20 100 --draws 5

For each number of examples, some draws of them are trained in three ways: from scratch; from the weights of the
first network, with all layers learning; and from these weights with all but the last two layers frozen. All that is
drawn is trained on, and the 4,861 test examples of these digits are computed once, after the last iteration. Prints the
medians of the accuracy and the loss on them, with the lowest and the highest, as tables in Markdown. Needs no packages.
"""

import argparse
import gzip
import json
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

MNIST = pathlib.Path(__file__).resolve().parent.parent / "coordinator/data/mnist"
FILES = {"train": "train", "test": "t10k"}
SIDE = 28
# All layers of `lenet` that have weights, but for the last hidden one and the output layer.
FROZEN = ["1", "3", "5"]
BASE_ITERATIONS = 8
ITERATIONS = 40


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("shoal", type=pathlib.Path)
    arguments.add_argument("--examples", type=int, nargs="+", default=[5, 20, 100], help="of each digit")
    arguments.add_argument("--draws", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(given, pathlib.Path(folder))


def measure(given, folder):
    sets = {part: read(name) for part, name in FILES.items()}
    write(folder / "low", {part: [pair for pair in pairs if pair[0] < 5] for part, pairs in sets.items()})
    high = {part: [pair for pair in pairs if pair[0] >= 5] for part, pairs in sets.items()}
    base = folder / "base"
    first = train(given.shoal, folder / "low", base, "--model", "lenet", "--iterations", BASE_ITERATIONS)
    print(f"Digits 0 to 4: test accuracy {first['test_accuracy']:.4f}\n")
    ways = {
        "from scratch": ["--model", "lenet"],
        "all layers learn": ["--init", base],
        "the last two layers learn": ["--init", base, *(flag for at in FROZEN for flag in ("--freeze", at))],
    }
    heading = "| examples of each digit | " + " | ".join(ways) + " |\n| ---: |" + " ---: |" * len(ways)
    accuracies, losses = [], []
    for count in given.examples:
        found = {way: [] for way in ways}
        for draw in range(given.draws):
            data = folder / f"high-{count}-{draw}"
            write(data, {"train": few(high["train"], count, draw), "test": high["test"]})
            for i, (way, flags) in enumerate(ways.items()):
                run = folder / f"run-{count}-{draw}-{i}"
                once = ["--validation-fraction", "0", "--evaluate-every", ITERATIONS]
                outcome = train(given.shoal, data, run, *flags, *once, "--iterations", ITERATIONS, "--seed", draw + 1)
                found[way].append(outcome)
                shutil.rmtree(run)
            shutil.rmtree(data)
        accuracies.append(row(count, found, lambda outcome: 100 * outcome["test_accuracy"], "{:.1f} %"))
        losses.append(row(count, found, lambda outcome: outcome["test_loss"], "{:.2f}"))
        print(f"{count} examples of each digit: {given.draws} draws in {len(ways)} ways", file=sys.stderr)
    for name, rows in {"accuracy": accuracies, "loss": losses}.items():
        print(f"Test {name} of the digits 5 to 9, median of {given.draws} draws (lowest to highest):\n\n{heading}")
        print("\n".join(rows), end="\n\n")


def row(count, found, figure, form):
    """Medians with the lowest and the highest, a cell for each way."""
    cells = []
    for outcomes in found.values():
        values = [figure(outcome) for outcome in outcomes]
        low, median, high = (form.format(of(values)) for of in (min, statistics.median, max))
        cells.append(f"{median} ({low} to {high})")
    return f"| {count} | " + " | ".join(cells) + " |"


def few(pairs, count, draw):
    """So many examples of each digit."""
    shuffled = random.Random(draw).sample(pairs, len(pairs))
    return [pair for digit in range(5, 10) for pair in [p for p in shuffled if p[0] == digit][:count]]


def read(name):
    """Pairs of a label and an image's bytes."""
    images = gzip.decompress((MNIST / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((MNIST / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
    size = SIDE * SIDE
    return [(label, images[i * size : (i + 1) * size]) for i, label in enumerate(labels)]


def write(folder, parts):
    folder.mkdir()
    for part, pairs in parts.items():
        name = FILES[part]
        images = struct.pack(">4i", 0x803, len(pairs), SIDE, SIDE) + b"".join(image for _, image in pairs)
        (folder / f"{name}-images-idx3-ubyte").write_bytes(images)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2i", 0x801, len(pairs)) + bytes(label for label, _ in pairs)
        )


def train(shoal, data, run, *flags):
    alone = ["--local-workers", "2", "--listen", "127.0.0.1:0", "--json"]
    command = [shoal, "train", "--data", data, "--out", run, *flags, *alone]
    ran = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ran.returncode != 0:
        raise SystemExit(f"{command} failed:\n{ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


main()
