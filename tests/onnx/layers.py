"""Checks every NAME.onnx of a folder and compares its answers with those of NAME.json.

NAME.json has an object for each input and output: shape, kind ("float32", "int64", "double" or "string") and
values, row-major.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-5


def main(folder):
    worst, files = 0.0, sorted(pathlib.Path(folder).glob("*.onnx"))
    for path in files:
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        case = json.loads(path.with_suffix(".json").read_text())
        feeds = {name: tensor(given) for name, given in case["inputs"].items()}
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for rows in (None, 1):
            # The first axis is free: all examples at once, then one alone.
            names = list(case["outputs"])
            answers = session.run(names, {name: value[:rows] for name, value in feeds.items()})
            for name, answer in zip(names, answers):
                worst = max(worst, compare(path, name, tensor(case["outputs"][name])[:rows], answer))
    assert files, f"no file in {folder}"
    print(f"{len(files)} networks agree, {worst:.2g} at worst")


def tensor(given):
    kind = object if given["kind"] == "string" else given["kind"]
    values = np.array([np.nan if value is None else value for value in given["values"]], dtype=kind)
    return values.reshape(given["shape"])


def compare(path, name, expected, answer):
    assert answer.shape == expected.shape, f"{path}: {name} is {answer.shape}, not {expected.shape}"
    if answer.dtype == object:
        assert (answer == expected).all(), f"{path}: {name} is {answer}, not {expected}"
        return 0.0
    error = np.abs(answer - expected) / np.maximum(1.0, np.abs(expected))
    assert (error <= TOLERANCE).all(), f"{path}: {name} is {error.max()} off"
    return error.max()


main(sys.argv[1])
