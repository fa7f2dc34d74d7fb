#!/usr/bin/env python3
"""Writes networks of PyTorch into this folder: NAME.onnx as torch.onnx.export writes it, NAME.safetensors with the
state dict, and answers.json with inputs and what PyTorch answers. Needs torch (1.13 or later) and safetensors.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

FOLDER = pathlib.Path(__file__).parent
EXAMPLES = 4


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.block1, self.block2 = Block(4, 4, 1), Block(4, 6, 2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.block2(self.block1(torch.relu(self.bn(self.stem(x)))))
        return self.fc(x.mean([2, 3]))


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 2)
        self.dropout, self.fc1, self.fc2 = nn.Dropout(0.2), nn.Linear(32, 12), nn.Linear(12, 3)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.relu(self.conv2(x))
        x = x.view(x.size(0), -1)
        return self.fc2(self.dropout(nn.functional.gelu(self.fc1(x))))


def dense():
    return nn.Sequential(
        nn.Flatten(), nn.Linear(36, 8), nn.SiLU(), nn.LayerNorm(8), nn.Linear(8, 8), nn.LeakyReLU(),
        nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3), nn.Softmax(dim=1),
    )


def main():
    torch.manual_seed(3)
    inputs = torch.randn(EXAMPLES, 1, 6, 6)
    answers = {"inputs": inputs.flatten().tolist()}
    for name, network in [("residual", Residual()), ("convolutions", Convolutions()), ("dense", dense())]:
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.data.uniform_(0.5, 2)
                module.bias.data.normal_()
        network.eval()
        answers[name] = network(inputs).detach().flatten().tolist()
        tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
        save_file(tensors, FOLDER / f"{name}.safetensors")
        axes = {"x": {0: "batch"}, "y": {0: "batch"}}
        torch.onnx.export(
            network, inputs, str(FOLDER / f"{name}.onnx"), input_names=["x"], output_names=["y"],
            dynamic_axes=axes, opset_version=17,
        )
    (FOLDER / "answers.json").write_text(json.dumps(answers) + "\n")


main()
