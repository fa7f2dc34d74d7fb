"""Writes networks as other programs export them, with what ONNX Runtime answers.

NAME.onnx has the graph, NAME.json the inputs and the answer, row-major. In the subfolder refused, NAME.txt has
words that the refusal must have.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(7)
EXAMPLES = 4


class Graph:
    """A graph under construction, whose values are numbered."""

    def __init__(self, shape, kind=TensorProto.FLOAT, version=17):
        self.nodes, self.constants, self.version, self.kind, self.shape = [], [], version, kind, shape

    def constant(self, array):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weights(self, *shape):
        return self.constant(RNG.normal(0, 0.4, shape).astype(np.float32))

    def node(self, operator, *inputs, outputs=1, **settings):
        names = [f"value{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"node{len(self.nodes)}", **settings))
        return names[0]

    def linear(self, x, inputs, outputs):
        """As PyTorch's Linear is exported."""
        return self.node("Gemm", x, self.weights(outputs, inputs), self.weights(outputs), transB=1)

    def norm(self, x, channels, epsilon=1e-5):
        variance = self.constant(RNG.uniform(0.3, 2, channels).astype(np.float32))
        parts = [self.weights(channels) for _ in range(3)]
        return self.node("BatchNormalization", x, *parts, variance, epsilon=epsilon)

    def normalized(self, x, axes, epsilon=1e-5, square="Pow"):
        """As PyTorch's LayerNorm is exported for operator sets before 17, without gain and bias."""
        mean = lambda x: self.node("ReduceMean", x, axes=axes)
        difference = self.node("Sub", x, mean(x))
        factor = self.constant(np.float32(2)) if square == "Pow" else difference
        variance = mean(self.node(square, difference, factor))
        return self.node("Div", difference, self.node("Sqrt", self.node("Add", variance, self.constant(np.float32(epsilon)))))

    def model(self, answer):
        value = helper.make_tensor_value_info
        inputs = [value("x", self.kind, ["n", *self.shape])]
        outputs = [value(answer, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "foreign", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.version)], ir_version=9)


def mlp_with_every_activation():
    g = Graph([5])
    x = "x"
    for i, activation in enumerate(["Relu", "LeakyRelu", "Tanh", "Sigmoid", "Softplus", "Identity"]):
        x = g.node(activation, g.linear(x, 5 if i == 0 else 6, 6))
    x = g.node("Dropout", x, g.constant(np.float32(0.25)))
    return g, g.node("Softmax", g.linear(x, 6, 3), axis=-1)


def gelu_and_silu_in_parts():
    g = Graph([6])
    half, one, root = (g.constant(np.float32(value)) for value in (0.5, 1.0, 2**0.5))
    x = g.linear("x", 6, 6)
    e = g.node("Add", g.node("Erf", g.node("Div", x, root)), one)
    x = g.linear(g.node("Mul", g.node("Mul", x, e), half), 6, 6)
    e = g.node("Add", one, g.node("Erf", g.node("Mul", x, g.constant(np.float32(2**-0.5)))))
    x = g.linear(g.node("Mul", g.node("Mul", half, x), e), 6, 6)
    e = g.node("Add", g.node("Erf", g.node("Div", x, root)), one)
    x = g.linear(g.node("Mul", x, g.node("Mul", e, half)), 6, 6)
    x = g.node("Mul", x, g.node("Sigmoid", x))
    return g, g.linear(x, 6, 2)


def matmul_and_add():
    g = Graph([4])
    x = g.node("Add", g.node("MatMul", "x", g.weights(4, 5)), g.weights(5))
    x = g.node("MatMul", g.node("Relu", x), g.node("Transpose", g.weights(5, 5), perm=[1, 0]))
    x = g.node("Mul", g.node("Tanh", g.node("Mul", x, g.constant(np.float32(0.5)))), g.constant(np.float32(1)))
    return g, g.node("Add", g.weights(3), g.node("MatMul", x, g.weights(5, 3)))


def matmul_without_bias():
    g = Graph([4])
    x = g.node("MatMul", "x", g.node("Transpose", g.weights(5, 4), perm=[1, 0]))
    x = g.node("Mul", x, g.weights(5))
    x = g.node("Relu", x)
    return g, g.node("Sigmoid", g.node("Add", g.weights(3), g.node("MatMul", x, g.weights(5, 3))))


def convolutions_and_pools():
    g = Graph([3, 11, 9])
    x = g.node("Conv", "x", g.weights(6, 1, 3, 3), g.weights(6), group=3, pads=[1, 1, 1, 1])
    x = g.node("Relu", g.norm(x, 6))
    x = g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = g.node("Conv", x, g.weights(4, 6, 2, 2), auto_pad="SAME_UPPER")
    x = g.node("Add", x, g.weights(1, 4, 1, 1))
    x = g.node("AveragePool", x, kernel_shape=[2, 2])
    # x.view(x.size(0), -1)
    size = g.node("Gather", g.node("Shape", x), g.constant(np.int64(0)), axis=0)
    sizes = [g.node("Unsqueeze", size, g.constant(np.array([0], np.int64))), g.constant(np.array([-1], np.int64))]
    x = g.node("Reshape", x, g.node("Concat", *sizes, axis=0))
    return g, g.node("LogSoftmax", g.linear(x, 4 * 4 * 3, 5))


def residual_network():
    """As torchvision's: the shortcut is a convolution of one place with a batch normalization."""
    g = Graph([2, 8, 8])
    x = g.node("Relu", g.norm(g.node("Conv", "x", g.weights(4, 2, 3, 3), pads=[1] * 4), 4))
    y = g.node("Relu", g.norm(g.node("Conv", x, g.weights(4, 4, 3, 3), pads=[1] * 4), 4))
    y = g.norm(g.node("Conv", y, g.weights(4, 4, 3, 3), pads=[1] * 4), 4)
    x = g.node("Relu", g.node("Add", y, x))
    y = g.node("Relu", g.norm(g.node("Conv", x, g.weights(6, 4, 3, 3), pads=[1] * 4, strides=[2, 2]), 6))
    y = g.norm(g.node("Conv", y, g.weights(6, 6, 3, 3), pads=[1] * 4), 6)
    x = g.node("Relu", g.node("Add", y, g.norm(g.node("Conv", x, g.weights(6, 4, 1, 1), strides=[2, 2]), 6)))
    x = g.node("Flatten", g.node("GlobalAveragePool", x))
    return g, g.node("Softmax", g.linear(x, 6, 3))


def blocks_in_blocks():
    """Blocks whose body begins with another block, with projections and without."""
    g = Graph([3, 8, 8])
    conv = lambda x, i, o, k, **settings: g.node("Conv", x, g.weights(o, i, k, k), g.weights(o), **settings)
    same = dict(pads=[1] * 4)
    x = "x"
    inner = g.node("Add", g.node("Relu", conv(x, 3, 3, 3, **same)), x)
    x = g.node("Relu", g.node("Add", x, conv(inner, 3, 3, 3, **same)))
    # Three ways: two projections, and the inner body.
    inner = g.node("Add", conv(x, 3, 4, 3, strides=[2, 2], **same), g.norm(conv(x, 3, 4, 1, strides=[2, 2]), 4))
    body = conv(g.node("Tanh", inner), 4, 5, 3, **same)
    x = g.node("Add", g.norm(conv(x, 3, 5, 1, strides=[2, 2]), 5), body)
    # Three blocks that begin at one value.
    y = g.node("Add", x, g.node("Relu", conv(x, 5, 5, 3, **same)))
    y = g.node("Add", g.node("Tanh", conv(y, 5, 5, 3, **same)), x)
    x = g.node("Add", g.norm(y, 5), x)
    x = g.node("Flatten", g.node("GlobalMaxPool", x))
    # Bodies that begin with an activation in parts.
    root, half, one = (g.constant(np.float32(value)) for value in (2**0.5, 0.5, 1))
    gelu = g.node("Mul", g.node("Mul", x, g.node("Add", g.node("Erf", g.node("Div", x, root)), one)), half)
    x = g.node("Add", g.linear(gelu, 5, 5), x)
    silu = g.node("Mul", x, g.node("Sigmoid", x))
    x = g.node("Add", g.linear(g.linear(silu, 5, 6), 6, 4), g.linear(x, 5, 4))
    return g, g.node("Softmax", g.linear(x, 4, 3))


def preactivated_blocks():
    """Normalization and activation before each layer, and a layer of one place with its own normalization."""
    g = Graph([4, 6, 6])
    x = "x"
    for _ in range(2):
        y = g.node("Relu", g.norm(x, 4))
        y = g.node("Conv", y, g.weights(4, 4, 3, 3), pads=[1] * 4)
        x = g.node("Add", x, y)
    y = g.norm(g.node("Conv", x, g.weights(4, 4, 1, 1)), 4)
    x = g.node("Sum", y, x)
    return g, g.linear(g.node("Flatten", x), 4 * 36, 2)


def values_beside_the_graph():
    """As PyTorch's exporter writes by default: large constants in a second file, lists as nodes."""
    g = Graph([2, 4, 4])
    x = g.node("Conv", "x", g.weights(3, 2, 3, 3), g.weights(3))
    x = g.node("Reshape", x, g.node("Constant", value_ints=[-1, 12]), allowzero=1)
    scale = g.node("Constant", value_float=2**0.5)
    x = g.linear(x, 12, 40)
    one, half = g.node("Constant", value_floats=[1.0]), g.node("Constant", value_float=0.5)
    x = g.node("Mul", g.node("Mul", x, half), g.node("Add", g.node("Erf", g.node("Div", x, scale)), one))
    return g, g.linear(x, 40, 3)


def keras_images():
    """Images as height, width, channels, turned before the first convolution and back before the vector."""
    g = Graph([6, 5, 3])
    x = g.node("Transpose", "x", perm=[0, 3, 1, 2])
    x = g.node("Relu", g.node("Conv", x, g.weights(4, 3, 3, 3), g.weights(4)))
    x = g.norm(x, 4, epsilon=1e-3)
    x = g.node("Reshape", g.node("Transpose", x, perm=[0, 2, 3, 1]), g.constant(np.array([-1, 48], np.int64)))
    # Its parameters are in the order of the turned values.
    x = g.norm(x, 48)
    x = g.node("Add", g.node("MatMul", x, g.weights(48, 4)), g.weights(4))
    return g, g.node("Softmax", g.node("Identity", x))


def keras_means():
    g = Graph([4, 4, 2])
    x = g.node("Conv", g.node("Transpose", "x", perm=[0, 3, 1, 2]), g.weights(3, 2, 2, 2), auto_pad="VALID")
    x = g.node("Tanh", x)
    x = g.node("ReduceMean", x, axes=[2, 3], keepdims=0)
    return g, g.linear(x, 3, 2)


def folded(g, x, channels):
    """A batch normalization of an image as tf2onnx writes it: a factor and a summand for each channel."""
    return g.node("Add", g.node("Mul", x, g.weights(1, channels, 1, 1)), g.weights(1, channels, 1, 1))


def keras_folded_blocks():
    """Residual blocks whose normalizations, also that of a shortcut, are factors and summands."""
    g = Graph([6, 6, 3])
    x = g.node("Conv", g.node("Transpose", "x", perm=[0, 3, 1, 2]), g.weights(4, 3, 3, 3), pads=[1] * 4)
    x = g.node("Relu", folded(g, x, 4))
    y = g.node("Relu", folded(g, g.node("Conv", x, g.weights(4, 4, 3, 3), g.weights(4), pads=[1] * 4), 4))
    y = folded(g, g.node("Conv", y, g.weights(4, 4, 3, 3), g.weights(4), pads=[1] * 4), 4)
    x = g.node("Relu", g.node("Add", y, x))
    y = g.node("Relu", folded(g, x, 4))
    y = folded(g, g.node("Conv", y, g.weights(5, 4, 3, 3), g.weights(5), strides=[2, 2], pads=[0, 0, 1, 1]), 5)
    side = folded(g, g.node("Conv", x, g.weights(5, 4, 1, 1), g.weights(5), strides=[2, 2]), 5)
    x = g.node("Relu", g.node("Add", side, y))
    x = g.node("Squeeze", g.node("GlobalAveragePool", x), g.constant(np.array([2, 3], np.int64)))
    return g, g.node("Softmax", g.node("Add", g.node("MatMul", x, g.weights(5, 3)), g.weights(3)))


def keras_folded_statistics():
    """As tf2onnx writes batch normalizations: a factor and a summand for each channel or value, behind a convolution, an
    activation, a pool or a dense layer; and a shape that is computed in 32 bits."""
    g = Graph([7, 7, 3])
    each = lambda channels: g.weights(1, channels, 1, 1)
    norm = lambda x, numbers: g.node("Add", g.node("Mul", x, numbers()), numbers())
    x = g.node("Relu", g.node("Conv", g.node("Transpose", "x", perm=[0, 3, 1, 2]), g.weights(4, 3, 2, 2), g.weights(4)))
    x = g.node("MaxPool", norm(x, lambda: each(4)), kernel_shape=[2, 2], strides=[2, 2])
    x = g.node("Relu", norm(g.node("Conv", norm(x, lambda: each(4)), g.weights(5, 4, 2, 2)), lambda: each(5)))
    number = lambda *values: g.constant(np.array(values, np.int64))
    shape = g.node("Gather", g.node("Shape", x), number(0, 2, 3, 1))
    first = g.node("Slice", g.node("Cast", shape, to=TensorProto.INT32), number(0), number(1), number(0))
    shape = g.node("Concat", first, g.constant(np.array([20], np.int32)), axis=0)
    x = g.node("Reshape", g.node("Transpose", x, perm=[0, 2, 3, 1]), g.node("Cast", shape, to=TensorProto.INT64))
    x = norm(norm(x, lambda: g.weights(20)), lambda: g.weights(20))
    x = g.node("Relu", g.node("Add", g.node("MatMul", x, g.weights(20, 6)), g.weights(6)))
    x = g.node("Sub", g.node("Div", x, g.constant(np.float32([0.5, 2, 1, 3, 0.7, 1.5]))), g.weights(6))
    return g, g.node("Softmax", g.node("Add", g.node("MatMul", x, g.weights(6, 3)), g.weights(3)))


def layer_normalizations_in_parts():
    """Of images and vectors, with gain and bias, without, and in a block whose shortcut goes around it."""
    g = Graph([2, 4, 4], version=16)
    x = g.node("Conv", "x", g.weights(3, 2, 3, 3), g.weights(3))
    x = g.node("Add", g.node("Mul", g.normalized(x, [-3, -2, -1]), g.weights(3, 2, 2)), g.weights(3, 2, 2))
    x = g.linear(g.node("Flatten", g.node("Relu", x)), 12, 5)
    x = g.node("Tanh", g.normalized(x, [1], square="Mul"))
    y = g.node("Mul", g.weights(5), g.normalized(x, [-1]))
    x = g.node("Add", x, g.node("Relu", g.linear(y, 5, 5)))
    x = g.node("Add", g.normalized(x, [-1]), g.weights(5))
    return g, g.node("Softmax", g.linear(x, 5, 3), axis=-1)


def layer_normalizations_as_keras_writes_them():
    """`x r g + (b - mean r g)`, with r the reciprocal of the deviation, and other orders of the same parts."""
    g = Graph([6], version=15)
    number = lambda value: g.constant(np.float32(value))

    def begin(x, epsilon):
        mean = g.node("ReduceMean", x, axes=[1])
        difference = g.node("Sub", x, mean)
        variance = g.node("ReduceMean", g.node("Mul", difference, difference), axes=[1])
        return mean, difference, g.node("Add", variance, number(epsilon))

    x = g.linear("x", 6, 6)
    mean, _, variance = begin(x, 1e-3)
    factor = g.node("Mul", g.node("Reciprocal", g.node("Sqrt", variance)), g.weights(1, 6))
    shift = g.node("Add", g.node("Mul", g.node("Neg", mean), factor), g.weights(1, 6))
    x = g.linear(g.node("Relu", g.node("Add", g.node("Mul", x, factor), shift)), 6, 5)
    # Without a gain, and by another reciprocal.
    mean, _, variance = begin(x, 1e-6)
    factor = g.node("Div", number(1), g.node("Sqrt", variance))
    shift = g.node("Sub", g.weights(5), g.node("Mul", mean, factor))
    x = g.node("Add", x, g.linear(g.node("Tanh", g.node("Add", g.node("Mul", factor, x), shift)), 5, 5))
    # Without a bias, by a power.
    _, difference, variance = begin(x, 1e-2)
    x = g.node("Mul", g.node("Mul", difference, g.node("Pow", variance, number(-0.5))), g.weights(5))
    _, difference, variance = begin(x, 0.5)
    x = g.node("LayerNormalization", g.node("Div", difference, g.node("Sqrt", variance)), g.weights(5), epsilon=1e-4)
    g.version = 17
    return g, g.linear(x, 5, 3)


def slopes_and_epsilons():
    g = Graph([4])
    x = g.node("LeakyRelu", g.linear("x", 4, 5), alpha=0.3)
    x = g.node("LeakyRelu", g.norm(g.linear(x, 5, 5), 5, epsilon=1e-2))
    x = g.node("LeakyRelu", g.linear(x, 5, 5), alpha=0.0)
    x = g.linear(x, 5, 5)
    x = g.linear(g.node("Max", x, g.node("Mul", x, g.constant(np.float32(0.125)))), 5, 5)
    # As PyTorch writes a softplus.
    y = g.linear(x, 5, 5)
    x = g.node("Where", g.node("Greater", y, g.constant(np.float32(20))), y, g.node("Softplus", y))
    return g, g.linear(g.node("LayerNormalization", x, g.weights(5), g.weights(5), epsilon=1e-3), 5, 2)


def gelu_with_erfc():
    """As Keras writes it. ONNX Runtime has no Erfc, so that main() puts 1 - Erf in its place."""
    g = Graph([4])
    x = g.linear("x", 4, 5)
    half, root = g.constant(np.float32(0.5)), g.constant(np.float32(2**-0.5))
    x = g.node("Mul", g.node("Mul", half, x), g.node("Erfc", g.node("Mul", g.node("Neg", x), root)))
    return g, g.linear(x, 5, 3)


def looked_up(g, x, vocabulary):
    """The index as Keras writes it, which counts negative integers from the end."""
    negative = g.node("Less", g.node("Cast", x, to=TensorProto.FLOAT), g.constant(np.float32(0)))
    kind = TensorProto.INT32 if g.kind == TensorProto.FLOAT else g.kind
    others = g.node("Mul", x, g.node("Cast", g.node("Not", negative), to=kind))
    more = g.node("Add", x, g.constant(np.array(vocabulary, np.int32 if kind == TensorProto.INT32 else np.int64)))
    return g.node("Add", g.node("Mul", g.node("Cast", negative, to=kind), more), others)


def embedding_as_keras_writes_it():
    g = Graph([3], TensorProto.INT64)
    x = g.node("Gather", g.weights(7, 4), looked_up(g, "x", 7), axis=0)
    x = g.node("Reshape", x, g.constant(np.array([-1, 12], np.int64)))
    return g, g.node("Softmax", g.linear(x, 12, 2), axis=-1)


def embedding_of_floats():
    g = Graph([3])
    x = looked_up(g, g.node("Cast", "x", to=TensorProto.INT32), 7)
    return g, g.linear(g.node("Flatten", g.node("Gather", g.weights(7, 4), x)), 12, 2)


def windows_with_padding():
    g = Graph([2, 13, 16])
    conv = lambda x, i, o, k, **settings: g.node("Conv", x, g.weights(o, i, k, k), g.weights(o), **settings)
    x = conv("x", 2, 3, 3, auto_pad="SAME_UPPER", strides=[2, 2])
    x = conv(x, 3, 3, 3, pads=[1, 0, 1, 1], strides=[2, 2])
    x = g.node("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = conv(x, 3, 4, 3, auto_pad="SAME_LOWER")
    x = g.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return g, g.linear(g.node("Flatten", x), 16, 3)


def pools_of_partial_windows():
    g = Graph([2, 10, 12])
    x = g.node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    x = g.node("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER")
    x = g.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    return g, g.linear(g.node("Flatten", x), 18, 3)


def zeros_around_images():
    g = Graph([2, 8, 8])
    zeros = lambda x, *sides: g.node("Pad", x, g.constant(np.array([0, 0, *sides[:2], 0, 0, *sides[2:]], np.int64)))
    x = g.node("Conv", zeros("x", 0, 0, 1, 1), g.weights(3, 2, 3, 3), g.weights(3), strides=[2, 2])
    x = g.node("MaxPool", zeros(g.node("Relu", x), 1, 1, 1, 1), kernel_shape=[3, 3], strides=[2, 2])
    return g, g.linear(g.node("Flatten", x), 12, 3)


def convolutional_head():
    g = Graph([2, 5, 5])
    x = g.node("Relu", g.node("Conv", "x", g.weights(4, 2, 3, 3), g.weights(4)))
    x = g.node("Conv", x, g.weights(3, 4, 1, 1), g.weights(3))
    return g, g.node("Softmax", g.node("Flatten", g.node("GlobalAveragePool", x)), axis=1)


def convolutional_head_with_an_activation():
    """As torchvision's SqueezeNet."""
    g = Graph([2, 5, 5])
    x = g.node("Relu", g.node("Conv", "x", g.weights(4, 2, 3, 3), g.weights(4)))
    x = g.node("Relu", g.node("Conv", x, g.weights(3, 4, 1, 1), g.weights(3)))
    return g, g.node("Flatten", g.node("GlobalAveragePool", x))


def head_behind_a_mean():
    g = Graph([2, 5, 5])
    x = g.node("ReduceMean", g.node("Conv", "x", g.weights(4, 2, 3, 3), g.weights(4)), axes=[-1, -2], keepdims=1)
    x = g.node("Relu", g.node("Conv", x, g.weights(5, 4, 1, 1), g.weights(5)))
    return g, g.node("Flatten", g.node("Conv", x, g.weights(3, 5, 1, 1)))


def head_that_sees_all():
    g = Graph([2, 6, 6])
    x = g.node("Relu", g.node("Conv", "x", g.weights(4, 2, 3, 3), g.weights(4)))
    x = g.node("Conv", x, g.weights(3, 4, 4, 4), g.weights(3))
    return g, g.node("Squeeze", x, g.constant(np.array([2, 3], np.int64)))


def head_that_sees_all_with_factors():
    g = Graph([2, 4, 4])
    x = g.node("Relu", g.node("Conv", "x", g.weights(3, 2, 4, 4), g.weights(3)))
    return g, g.node("Softmax", g.node("Flatten", g.node("Mul", x, g.weights(1, 3, 1, 1))), axis=1)


def means_and_maxima():
    g = Graph([2, 6, 6])
    x = g.node("Reshape", g.node("Conv", "x", g.weights(4, 2, 3, 3)), g.constant(np.array([0, 4, -1], np.int64)))
    return g, g.linear(g.node("ReduceMean", x, axes=[2], keepdims=0), 4, 3)


def maxima():
    g = Graph([2, 6, 6])
    x = g.node("ReduceMax", g.node("Conv", "x", g.weights(4, 2, 3, 3)), axes=[2, 3], keepdims=0)
    return g, g.linear(x, 4, 3)


def planes():
    """Images without an axis of channels."""
    g = Graph([6, 5])
    x = g.node("Unsqueeze", "x", g.constant(np.array([1], np.int64)))
    x = g.node("Relu", g.node("Conv", x, g.weights(2, 1, 3, 3), g.weights(2)))
    return g, g.linear(g.node("Flatten", x), 24, 3)


def flat_planes():
    g = Graph([6, 5])
    return g, g.linear(g.node("Relu", g.linear(g.node("Flatten", "x"), 30, 5)), 5, 3)


def keras_turned_in_the_middle():
    """Turned back between convolutions, as tf2onnx leaves it around what it does not know to move."""
    g = Graph([6, 6, 3])
    x = g.node("Conv", g.node("Transpose", "x", perm=[0, 3, 1, 2]), g.weights(4, 3, 3, 3))
    x = g.node("LeakyRelu", g.node("Add", g.node("Transpose", x, perm=[0, 2, 3, 1]), g.weights(4)), alpha=0.2)
    x = g.node("Add", g.node("Mul", g.normalized(x, [1, 2, 3], 1e-3), g.weights(4, 4, 4)), g.weights(1, 4, 4, 4))
    x = g.node("Pad", x, g.constant(np.array([0, 1, 1, 0, 0, 1, 1, 0], np.int64)))
    x = g.node("Conv", g.node("Transpose", x, perm=[0, 3, 1, 2]), g.weights(5, 4, 3, 3))
    x = g.node("Relu", g.node("Transpose", x, perm=[0, 2, 3, 1]))
    x = g.node("ReduceMean", x, axes=[1, 2], keepdims=0)
    g.version = 17
    return g, g.linear(x, 5, 3)


def embedding():
    g = Graph([3], TensorProto.INT64)
    x = g.node("Flatten", g.node("Gather", g.weights(7, 4), "x"))
    normal = g.node("LayerNormalization", x, g.weights(12), g.weights(12), axis=-1)
    return g, g.linear(normal, 12, 2)


def standardized_and_in_units():
    """What stands around the network is left out, so that the constants here change nothing."""
    g = Graph([4])
    x = g.node("Div", g.node("Sub", "x", g.constant(np.zeros(4, np.float32))), g.constant(np.ones(4, np.float32)))
    x = g.linear(g.node("Relu", g.linear(x, 4, 3)), 3, 2)
    return g, g.node("Add", g.node("Mul", x, g.constant(np.float32(1))), g.constant(np.zeros(2, np.float32)))


READ = [
    mlp_with_every_activation, gelu_and_silu_in_parts, matmul_and_add, matmul_without_bias, convolutions_and_pools,
    residual_network, blocks_in_blocks, preactivated_blocks, values_beside_the_graph, keras_images, keras_means,
    keras_folded_statistics, keras_folded_blocks, layer_normalizations_in_parts, embedding, standardized_and_in_units,
    layer_normalizations_as_keras_writes_them, slopes_and_epsilons, gelu_with_erfc, embedding_as_keras_writes_it,
    embedding_of_floats, windows_with_padding, pools_of_partial_windows, zeros_around_images, convolutional_head,
    convolutional_head_with_an_activation, head_behind_a_mean, head_that_sees_all, head_that_sees_all_with_factors,
    means_and_maxima, maxima, planes, flat_planes, keras_turned_in_the_middle,
]


def refused():
    """Graphs with words of their refusals."""
    g = Graph([4])
    yield "operator", g, g.linear(g.node("Elu", g.linear("x", 4, 3)), 3, 2), ["node1 (Elu)", "no such layer"]
    g = Graph([2, 3, 3])
    x = g.node("Mul", g.node("Relu", g.node("Conv", "x", g.weights(2, 2, 1, 1))), g.weights(1, 2, 3, 3))
    yield "constant", g, g.linear(g.node("Flatten", x), 18, 2), ["(Mul)", "constant"]
    g = Graph([4])
    x = g.node("Tanh", g.node("Mul", g.node("Relu", g.linear("x", 4, 3)), g.weights(3)))
    yield "factors", g, g.linear(x, 3, 2), ["(Tanh)", "right behind"]
    g = Graph([4])
    x = g.node("Sub", g.weights(3), g.node("Relu", g.linear("x", 4, 3)))
    yield "subtracted", g, g.linear(x, 3, 2), ["(Sub)", "subtracts from a constant"]
    # Both dense layers would have to take the factors.
    g = Graph([4])
    x = g.node("Mul", g.node("Relu", g.linear("x", 4, 3)), g.weights(3))
    x = g.node("Add", g.linear(g.node("Relu", g.linear(x, 3, 5)), 5, 5), g.linear(x, 3, 5))
    yield "factors_of_a_block", g, g.linear(x, 5, 2), ["(Gemm)", "right behind"]
    g = Graph([1, 6, 6])
    x = g.node("Conv", "x", g.weights(2, 1, 3, 3), dilations=[2, 2])
    yield "dilations", g, g.linear(g.node("Flatten", x), 8, 2), ["node0 (Conv)", "dilations"]
    g = Graph([1, 6, 6])
    x = g.node("Conv", "x", g.weights(2, 1, 3, 2))
    yield "oblong", g, g.linear(g.node("Flatten", x), 40, 2), ["node0 (Conv)", "3x2"]
    g = Graph([1, 6, 6])
    x = g.node("Conv", "x", g.weights(2, 1, 3, 3), pads=[2, 0, 0, 0])
    yield "pads", g, g.linear(g.node("Flatten", x), 48, 2), ["node0 (Conv)", "the first 2 above and 0 left"]
    g = Graph([1, 6, 6])
    x = g.node("Conv", "x", g.weights(2, 1, 4, 4), auto_pad="SAME_LOWER")
    yield "lower", g, g.linear(g.node("Flatten", x), 72, 2), ["node0 (Conv)", "the first 2 above and 2 left"]
    g = Graph([1, 6, 6])
    x = g.node("MaxPool", "x", kernel_shape=[3, 3], pads=[1, 0, 0, 0])
    yield "uneven", g, g.linear(g.node("Flatten", x), 20, 2), ["node0 (MaxPool)", "the first 1 above and 0 left"]
    g = Graph([1, 6, 6])
    x = g.node("AveragePool", "x", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1)
    yield "counted", g, g.linear(g.node("Flatten", x), 36, 2), ["node0 (AveragePool)", "count_include_pad"]
    g = Graph([1, 6, 6])
    x = g.node("Pad", "x", g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
    x = g.node("MaxPool", x, kernel_shape=[3, 3])
    yield "zeros", g, g.linear(g.node("Flatten", x), 36, 2), ["node1 (MaxPool)", "zeros around the image"]
    g = Graph([1, 6, 6])
    x = g.node("Pad", "x", g.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)))
    yield "zeros_in_a_vector", g, g.linear(g.node("Flatten", x), 64, 2), ["node1 (Flatten)", "zeros around an image"]
    g = Graph([4])
    yield "slope", g, g.linear(g.node("LeakyRelu", "x", alpha=-0.3), 4, 2), ["node0 (LeakyRelu)", "-0.3"]
    g = Graph([4])
    yield "last", g, g.node("Relu", g.linear("x", 4, 2)), ["last layer", "relu"]
    g = Graph([4])
    x = g.node("Gelu", g.linear("x", 4, 4), approximate="tanh")
    g.version = 20
    yield "approximate", g, g.linear(x, 4, 2), ["node1 (Gelu)", "approximate"]
    # Within a thousandth of a gelu.
    g = Graph([4])
    x, half, one = g.linear("x", 4, 4), g.constant(np.float32(0.5)), g.constant(np.float32(1))
    e = g.node("Add", g.node("Erf", g.node("Mul", x, g.constant(np.float32(0.7075)))), one)
    yield "nearly", g, g.linear(g.node("Mul", g.node("Mul", x, half), e), 4, 2), ["(Mul)"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    yield "mish", g, g.linear(g.node("Mul", x, g.node("Tanh", g.node("Softplus", x))), 4, 2), ["(Mul)", "meet here"]
    # A relu up to 7 is none.
    g = Graph([4])
    x = g.linear("x", 4, 4)
    x = g.node("Where", g.node("Greater", x, g.constant(np.float32(7))), g.constant(np.float32(7)), g.node("Relu", x))
    yield "cut_off", g, g.linear(x, 4, 2), ["(Where)", "meet here"]
    g = Graph([4])
    yield "axis_of_examples", g, g.node("Softmax", g.linear("x", 4, 2), axis=0), ["(Softmax)", "its axis is 0"]
    g = Graph([4])
    x = g.linear("x", 4, 3)
    g.linear(g.node("Relu", x), 3, 2)
    yield "answer", g, x, ["its answer is not the value at the end"]
    g = Graph([3], TensorProto.INT64)
    x = g.node("Add", g.node("Mul", "x", g.constant(np.int64(1))), g.node("Mul", "x", g.constant(np.int64(0))))
    x = g.node("Flatten", g.node("Gather", g.weights(7, 4), g.node("Sub", g.constant(np.int64(6)), x)))
    yield "backwards", g, g.linear(x, 12, 2), ["(Gather)", "not the input itself"]
    g = Graph([3], TensorProto.INT64)
    x = g.node("Flatten", g.node("Gather", g.weights(7, 4), g.node("Add", "x", g.constant(np.int64(1)))))
    yield "shifted", g, g.linear(x, 12, 2), ["(Gather)", "not the input itself"]
    g = Graph([3], TensorProto.INT64)
    x = g.node("Add", g.node("Gather", g.weights(7, 4), "x"), g.weights(4))
    yield "added_to_each", g, g.linear(g.node("Flatten", x), 12, 2), ["(Add)", "constant"]
    g = Graph([1], TensorProto.INT64)
    x = g.normalized(g.node("Gather", g.weights(7, 4), "x"), [2])
    yield "each_vector", g, g.linear(g.node("Flatten", x), 4, 2), ["(ReduceMean)", "a part of each example's values"]
    g = Graph([3], TensorProto.INT64)
    x = g.node("Relu", g.node("MatMul", g.node("Gather", g.weights(7, 4), "x"), g.weights(4, 5)))
    yield "each_position", g, g.linear(g.node("Flatten", x), 15, 2), ["(MatMul)", "more than one axis"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    yield "ways", g, g.linear(g.node("Mul", x, g.node("Tanh", x)), 4, 2), ["(Mul)"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    x = g.node("Add", g.node("Relu", g.node("Mul", x, g.constant(np.float32(0.5)))), x)
    yield "scaled", g, g.linear(x, 4, 2), ["(Relu)", "right behind"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    x = g.node("Add", g.node("Relu", g.linear(x, 4, 4)), g.node("Tanh", g.linear(x, 4, 4)))
    yield "shortcut", g, g.linear(x, 4, 2), ["(Add)", "neither of its inputs is a shortcut"]
    g = Graph([4])
    x = g.node("Concat", g.linear("x", 4, 3), g.linear("x", 4, 3), axis=1)
    yield "concat", g, g.linear(x, 6, 2), ["(Concat)", "meet in an Add"]
    g = Graph([2, 4, 4])
    yield "axis", g, g.linear(g.node("Flatten", "x", axis=2), 8, 2), ["(Flatten)", "its axis is 2"]
    # A shape made of so many empty lists that counting them takes forever.
    g = Graph([1, 4, 4])
    x = g.constant(np.zeros(0, np.int64))
    for _ in range(15):
        x = g.node("Concat", *[x] * 8, axis=0)
    yield "shape", g, g.linear(g.node("Reshape", "x", x), 16, 2), ["(Reshape)", "its shape"]
    g = Graph([2, 4, 4])
    x = g.normalized("x", [-1])
    yield "rows", g, g.linear(g.node("Flatten", x), 32, 2), ["node0 (ReduceMean)", "a part of each example's values"]
    g = Graph([4])
    yield "epsilon", g, g.linear(g.normalized("x", [-1], 2), 4, 2), ["(Add)", "its epsilon is 2"]
    g = Graph([4])
    yield "no_epsilon", g, g.linear(g.norm("x", 4, epsilon=0.0), 4, 2), ["node0 (BatchNorm", "its epsilon is 0"]
    g = Graph([4])
    x = g.node("Sub", "x", g.node("ReduceMean", "x", axes=[1]))
    yield "centered", g, g.linear(x, 4, 2), ["(Sub)", "meet here"]
    g = Graph([])
    yield "axes", g, g.linear(g.node("Unsqueeze", "x", g.constant(np.array([1], np.int64))), 1, 2), ["input x"]
    g = Graph([4])
    large = numpy_helper.from_array(np.zeros((4, 2), np.float32), "w")
    large.dims[0] = 1 << 40
    g.constants.append(large)
    yield "dims", g, g.node("MatMul", "x", "w"), ["constant w"]
    g = Graph([1 << 40])
    yield "large_input", g, g.linear("x", 4, 2), ["input x", "more values"]
    g = Graph([4])
    g.constants += [numpy_helper.from_array(np.zeros((4, 2), np.float32), "w")] * 2
    yield "twice", g, g.node("MatMul", "x", "w"), ["constant w", "there twice"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    g.nodes.append(helper.make_node("Relu", [x], [x], name="again"))
    yield "loop", g, g.linear(x, 4, 2), ["node again (Relu)", "another value"]
    g = Graph([4])
    g.nodes.append(helper.make_node("Add", ["x", "later"], ["sooner"], name="sum"))
    g.nodes.append(helper.make_node("Relu", ["sooner"], ["later"], name="relu"))
    yield "cycle", g, g.linear("later", 4, 2), ["node sum (Add)"]
    g = Graph([1, 6, 6])
    x = g.node("MaxPool", "x", kernel_shape=[3, 3], strides=[1 << 40] * 2, pads=[1 << 40] * 4)
    yield "far", g, g.linear(g.node("Flatten", x), 4, 2), ["node0 (MaxPool)", "1099511627776"]
    g = Graph([1, 6, 6])
    x = g.node("Conv", "x", g.weights(2, 1, 3, 3), pads=[1 << 62] * 4)
    yield "wide", g, g.linear(g.node("Flatten", x), 4, 2), ["node0 (Conv)", "its pads"]
    g = Graph([4])
    x = g.linear("x", 4, 4)
    x = g.node("Reshape", x, g.constant(np.array([-1, 1 << 40, 1 << 40], np.int64)))
    yield "huge_shape", g, x, ["(Reshape)", "shape"]


def runnable(model):
    """What ONNX Runtime can run that computes the same."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Erfc":
            nodes.append(helper.make_node("Constant", [], ["one"], value_float=1.0))
            nodes.append(helper.make_node("Erf", node.input, ["erf"]))
            nodes.append(helper.make_node("Sub", ["one", "erf"], node.output))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def main(folder):
    folder = pathlib.Path(folder)
    for make in READ:
        g, answer = make()
        model = g.model(answer)
        path = folder / f"{make.__name__}.onnx"
        session = onnxruntime.InferenceSession(runnable(model).SerializeToString(), providers=["CPUExecutionProvider"])
        beside = make is values_beside_the_graph
        onnx.save(model, path, save_as_external_data=beside, location=f"{path.name}.data", size_threshold=64)
        if make.__name__.startswith("embedding"):
            x = RNG.integers(0, 7, (EXAMPLES, *g.shape)).astype(helper.tensor_dtype_to_np_dtype(g.kind))
        else:
            x = RNG.normal(0, 1, (EXAMPLES, *g.shape)).astype(np.float32)
        (y,) = session.run(None, {"x": x})
        # Shoal's images lie as channels, height, width, whatever the file says.
        if make.__name__.startswith("keras"):
            x = x.transpose(0, 3, 1, 2)
        answers = np.exp(y) if make is convolutions_and_pools else y
        case = {"inputs": x.reshape(EXAMPLES, -1).tolist(), "answers": answers.tolist()}
        path.with_suffix(".json").write_text(json.dumps(case))
    (folder / "refused").mkdir()
    for name, g, answer, words in refused():
        onnx.save(g.model(answer), folder / "refused" / f"{name}.onnx")
        (folder / "refused" / f"{name}.txt").write_text("\n".join(words))


main(sys.argv[1])
