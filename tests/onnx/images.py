"""A network in PyTorch's style for small images: written, and later measured in ONNX Runtime.

images.py write FOLDER: network.onnx, with random weights, and images.csv, of three kinds of patterns.
images.py accuracy FOLDER: the share of the rows of images.csv that trained.onnx tells the label of.
"""

import csv
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIDE = 6
ROWS = 600
KINDS = ["across", "down", "spot"]


def write(folder):
    rng = np.random.default_rng(11)
    with open(folder / "images.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow([f"p{i}" for i in range(SIDE * SIDE)] + ["kind"])
        for row in range(ROWS):
            image, at = rng.normal(0, 0.7, (SIDE, SIDE)), rng.integers(0, SIDE - 1)
            kind = row % len(KINDS)
            if kind == 0:
                image[at] += 1.5
            elif kind == 1:
                image[:, at] += 1.5
            else:
                image[at : at + 2, at : at + 2] += 1.5
            table.writerow([f"{value:.4f}" for value in image.ravel()] + [KINDS[kind]])

    constants, nodes = [], []

    def constant(name, *shape, values=None):
        values = rng.normal(0, 0.3, shape) if values is None else np.full(shape, values)
        constants.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def node(operator, name, *inputs, **settings):
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **settings))
        return name

    def conv(name, x, inputs, outputs):
        settings = {"kernel_shape": [3, 3], "pads": [1] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1}
        weight = constant(f"{name}.weight", outputs, inputs, 3, 3)
        return node("Conv", f"/{name}/Conv_output_0", x, weight, constant(f"{name}.bias", outputs), **settings)

    def norm(name, x, channels):
        parts = {"weight": 1, "bias": 0, "running_mean": 0, "running_var": 1}
        parts = [constant(f"{name}.{part}", channels, values=value) for part, value in parts.items()]
        return node("BatchNormalization", f"/{name}/BatchNormalization_output_0", x, *parts, epsilon=1e-5)

    x = node("Relu", "/relu/Relu_output_0", norm("bn1", conv("conv1", "input", 1, 4), 4))
    y = norm("bn2", conv("conv2", x, 4, 4), 4)
    x = node("Relu", "/relu_1/Relu_output_0", node("Add", "/Add_output_0", y, x))
    x = node("MaxPool", "/pool/MaxPool_output_0", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4, ceil_mode=0)
    x = node("Flatten", "/Flatten_output_0", x, axis=1)
    weight, bias = constant("fc.weight", 3, 36), constant("fc.bias", 3)
    node("Gemm", "output", x, weight, bias, alpha=1.0, beta=1.0, transB=1)
    value = helper.make_tensor_value_info
    inputs = [value("input", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])]
    outputs = [value("output", TensorProto.FLOAT, ["batch", 3])]
    graph = helper.make_graph(nodes, "main_graph", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "network.onnx")


def accuracy(folder):
    with open(folder / "images.csv") as file:
        rows = list(csv.reader(file))[1:]
    images = np.array([row[:-1] for row in rows], np.float32).reshape(-1, 1, SIDE, SIDE)
    session = onnxruntime.InferenceSession(str(folder / "trained.onnx"), providers=["CPUExecutionProvider"])
    (labels,) = session.run(["label"], {"input": images})
    print(np.mean([label == row[-1] for label, row in zip(labels, rows)]))


command, folder = sys.argv[1:]
{"write": write, "accuracy": accuracy}[command](pathlib.Path(folder))
