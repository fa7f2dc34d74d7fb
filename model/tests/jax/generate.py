"""Writes reference.json: losses, gradients and ten training steps of small networks, computed by JAX in 64 bits.

    python3 -m venv venv && venv/bin/pip install jax==0.10.2 && venv/bin/python model/tests/jax/generate.py

The specifications are in Shoal's format. Every layer is written from its published definition, with JAX's own
primitives and automatic differentiation, so that it shares neither a formula nor a derivative with the tested code.
Inputs, targets and weights come from `numbers`, which `model/tests/jax.rs` has, too. Dropout is left out, because its
masks are Shoal's own.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

LEARNING_RATE = 0.05
STEPS = 10


def numbers(seed, count):
    """`count` numbers in -1 .. 1 that are exact in 32 bits."""
    index = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed) * np.uint64(1_000_003)
    hashed = (index * np.uint64(2_654_435_761)) & np.uint64(0xFFFFFFFF)
    hashed ^= hashed >> np.uint64(15)
    hashed = (hashed * np.uint64(2_246_822_519)) & np.uint64(0xFFFFFFFF)
    hashed ^= hashed >> np.uint64(13)
    return (hashed >> np.uint64(8)).astype(np.float64) / 2.0**23 - 1.0


ACTIVATIONS = {
    "relu": jax.nn.relu,
    "leaky-relu": lambda z: jax.nn.leaky_relu(z, np.float64(np.float32(0.01))),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "none": lambda z: z,
}


class Parameters:
    """Hands out blocks of the flat vector in order and remembers which of them are weights."""

    def __init__(self, flat):
        self.flat, self.used, self.weights = flat, 0, []

    def take(self, shape, weight=False):
        size = int(np.prod(shape))
        block = self.flat[self.used : self.used + size].reshape(shape)
        if weight:
            self.weights.append((self.used, self.used + size))
        self.used += size
        return block


def flatten(x):
    return x.reshape(x.shape[0], -1)


def dense(p, x, units):
    x = flatten(x)
    weight = p.take((x.shape[1], units), weight=True)
    return x @ weight + p.take((units,))


def conv2d(p, x, channels, kernel, stride, padding, groups):
    weight = p.take((channels, x.shape[1] // groups, kernel, kernel), weight=True)
    if padding == "same":
        pads = "SAME"
    else:
        pads = [(0 if padding == "valid" else padding,) * 2] * 2
    y = jax.lax.conv_general_dilated(
        x, weight, (stride, stride), pads, feature_group_count=groups,
        dimension_numbers=("NCHW", "OIHW", "NCHW"),
    )
    return y + p.take((channels,))[None, :, None, None]


def pool(x, size, stride, largest):
    dimensions, strides = (1, 1, size, size), (1, 1, stride, stride)
    if largest:
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, dimensions, strides, "VALID")
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, dimensions, strides, "VALID") / size**2


def normalize(x, axes):
    mean = x.mean(axis=axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + np.float64(np.float32(1e-5)))


def layer(p, x, spec):
    kind, activation = spec["kind"], ACTIVATIONS[spec.get("activation", "relu")]
    if kind == "dense":
        return activation(dense(p, x, spec["units"]))
    if kind == "conv2d":
        y = conv2d(p, x, spec["channels"], spec["kernel"], spec.get("stride", 1), spec.get("padding", "valid"),
                   spec.get("groups", 1))
        return activation(y)
    if kind in ("max-pool", "average-pool"):
        return pool(x, spec["size"], spec.get("stride", spec["size"]), kind == "max-pool")
    if kind == "global-max-pool":
        return x.max(axis=(2, 3))
    if kind == "global-average-pool":
        return x.mean(axis=(2, 3))
    if kind == "flatten":
        return flatten(x)
    if kind == "activation":
        return ACTIVATIONS[spec["function"]](x)
    if kind == "layer-norm":
        y = flatten(normalize(x, tuple(range(1, x.ndim))))
        y = y * p.take((y.shape[1],)) + p.take((y.shape[1],))
        return y.reshape(x.shape)
    if kind == "batch-norm":
        axes, shape = ((0,), (1, -1)) if x.ndim == 2 else ((0, 2, 3), (1, -1, 1, 1))
        gain, bias = p.take((x.shape[1],)), p.take((x.shape[1],))
        return normalize(x, axes) * gain.reshape(shape) + bias.reshape(shape)
    if kind == "embedding":
        table = p.take((spec["vocabulary"], spec["width"]), weight=True)
        return flatten(table[x.astype(int)])
    if kind == "residual":
        y = x
        for inner in spec["layers"]:
            y = layer(p, y, inner)
        if spec.get("shortcut", "identity") == "identity":
            shortcut = x
        elif y.ndim == 4 and x.ndim == 4:
            stride = next(s for s in range(1, 99) if -(-x.shape[2] // s) == y.shape[2])
            shortcut = conv2d(p, x, y.shape[1], 1, stride, "valid", 1)
        else:
            shortcut = dense(p, x, y.shape[1])
        return ACTIVATIONS[spec.get("activation", "none")](y + shortcut)
    raise ValueError(kind)


def losses(case, flat):
    """Each example's loss, and the penalty."""
    spec, examples = case["spec"], case["examples"]
    p = Parameters(flat)
    x = inputs(case)
    if "input" in spec:
        x = x.reshape(examples, *spec["input"])
    for one in spec.get("layers", []):
        x = layer(p, x, one)
    z = dense(p, x, case["outputs"])
    kind = spec.get("loss", "softmax-cross-entropy" if case["task"] == "classes" else "mean-squared-error")
    if kind == "softmax-cross-entropy":
        classes = np.arange(examples) * 7 % case["outputs"]
        smoothing = np.float64(np.float32(spec.get("label_smoothing", 0.0)))
        target = jax.nn.one_hot(classes, case["outputs"]) * (1 - smoothing) + smoothing / case["outputs"]
        each = -(target * jax.nn.log_softmax(z)).sum(axis=1)
        if "class_weights" in spec:
            each = each * np.array(spec["class_weights"], np.float32).astype(np.float64)[classes]
    else:
        target = targets(case)
        if kind == "mean-squared-error":
            each = ((z - target) ** 2).mean(axis=1)
        elif kind == "binary-cross-entropy":
            each = (jnp.logaddexp(0, z) - z * target).mean(axis=1)
        else:
            delta = spec.get("huber_delta", 1.0)
            size = jnp.abs(z - target)
            each = jnp.where(size <= delta, size**2 / 2, delta * (size - delta / 2)).mean(axis=1)
    assert p.used == flat.size, (case["name"], p.used, flat.size)
    l1, l2 = (np.float64(np.float32(spec.get(name, 0.0))) for name in ("l1", "l2"))
    weights = jnp.concatenate([flat[start:end] for start, end in p.weights])
    return each, l2 / 2 * (weights**2).sum() + l1 * jnp.abs(weights).sum()


def inputs(case):
    values = numbers(1, case["examples"] * case["features"])
    first = case["spec"].get("layers", [{}])[:1]
    if first and first[0].get("kind") == "embedding":
        values = np.floor((values + 1) / 2 * first[0]["vocabulary"])
    return jnp.asarray(values).reshape(case["examples"], case["features"])


def targets(case):
    values = numbers(2, case["examples"] * case["outputs"]).reshape(case["examples"], case["outputs"])
    return (values + 1) / 2 if case["spec"].get("loss") == "binary-cross-entropy" else values


def count(case):
    """The number of parameters of a case, found by taking zeros until they suffice."""
    size = 1
    while True:
        try:
            losses(case, jnp.zeros(size))
            return size
        except AssertionError as error:
            size = error.args[0][1]
        except TypeError:
            size *= 2


def classes(name, spec, features, outputs=3, examples=6):
    return {"name": name, "spec": spec, "features": features, "task": "classes", "outputs": outputs,
            "examples": examples}


def reals(name, spec, features, outputs=2, examples=6):
    return classes(name, spec, features, outputs, examples) | {"task": "numbers"}


def cases():
    for activation in ACTIVATIONS:
        spec = {"layers": [{"kind": "dense", "units": 5, "activation": activation}]}
        yield classes(f"dense, {activation}", spec, 4)
    image = [2, 6, 6]
    pixels = 72
    conv = {"kind": "conv2d", "channels": 4, "kernel": 3, "activation": "tanh"}
    for name, more in {
        "valid": {}, "same": {"padding": "same"}, "same, stride 2": {"padding": "same", "stride": 2},
        "padding 2, stride 3": {"padding": 2, "stride": 3}, "groups": {"groups": 2, "padding": 1},
    }.items():
        yield classes(f"conv2d, {name}", {"input": image, "layers": [conv | more]}, pixels)
    for name, pooling in {
        "max": {"kind": "max-pool", "size": 2}, "overlapping max": {"kind": "max-pool", "size": 3, "stride": 1},
        "average": {"kind": "average-pool", "size": 2}, "global max": {"kind": "global-max-pool"},
        "overlapping average": {"kind": "average-pool", "size": 3, "stride": 2},
        "global average": {"kind": "global-average-pool"},
    }.items():
        yield classes(f"pooling, {name}", {"input": image, "layers": [conv, pooling]}, pixels)
    yield classes("flatten and activation", {"input": image, "layers": [
        conv | {"activation": "none"}, {"kind": "activation", "function": "silu"}, {"kind": "flatten"}]}, pixels)
    dense_5 = {"kind": "dense", "units": 5, "activation": "tanh"}
    for kind in ("layer-norm", "batch-norm"):
        yield classes(f"{kind} of vectors", {"layers": [dense_5, {"kind": kind}, dense_5]}, 4)
        yield classes(f"{kind} of images", {"input": image, "layers": [conv, {"kind": kind}]}, pixels)
    yield classes("residual, identity", {"layers": [
        dense_5, {"kind": "residual", "layers": [dense_5, dense_5 | {"activation": "none"}], "activation": "gelu"}]}, 4)
    yield classes("residual, projected vectors", {"layers": [
        {"kind": "residual", "layers": [dense_5], "shortcut": "projection"}]}, 4)
    yield classes("residual, projected images", {"input": image, "layers": [
        {"kind": "residual", "layers": [conv | {"padding": "same", "stride": 2}, {"kind": "batch-norm"}],
         "shortcut": "projection", "activation": "tanh"}]}, pixels)
    yield classes("embedding", {"layers": [{"kind": "embedding", "vocabulary": 7, "width": 3}, dense_5]}, 3)
    yield classes("label smoothing and class weights", {
        "layers": [dense_5], "label_smoothing": 0.125, "class_weights": [1.0, 0.5, 3.0]}, 4)
    yield reals("mean squared error, l1 and l2", {"layers": [dense_5], "l1": 0.015625, "l2": 0.0625}, 4)
    yield reals("binary cross-entropy", {"layers": [dense_5], "loss": "binary-cross-entropy"}, 4)
    yield reals("huber", {"layers": [dense_5], "loss": "huber", "huber_delta": 0.25}, 4)


def solve(case):
    size = count(case)
    start = numbers(3, size) / 2

    def objective(flat):
        each, penalty = losses(case, flat)
        return each.mean() + penalty

    each, penalty = losses(case, jnp.asarray(start))
    gradient = jax.grad(lambda flat: losses(case, flat)[0].sum())(jnp.asarray(start))
    step = jax.jit(lambda flat: flat - LEARNING_RATE * jax.grad(objective)(flat))
    weights = jnp.asarray(start)
    for _ in range(STEPS):
        weights = step(weights)
    short = lambda values: [float(f"{value:.9g}") for value in np.asarray(values)]
    return case | {"spec": json.dumps(case["spec"]), "penalty": float(penalty), "losses": short(each),
                   "gradient": short(gradient), "weights": short(weights)}


if __name__ == "__main__":
    solved = ",\n".join(json.dumps(solve(case)) for case in cases())
    header = f'"jax": "{jax.__version__}", "learning_rate": {LEARNING_RATE}, "steps": {STEPS}'
    pathlib.Path(__file__).with_name("reference.json").write_text(f"{{{header}, \"cases\": [\n{solved}\n]}}\n")
