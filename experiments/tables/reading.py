#!/usr/bin/env python3
"""Compares reading one million rows of 20 numbers with pandas and pyarrow: time and peak memory.

usage: reading.py COLUMNS_EXAMPLE FOLDER
COLUMNS_EXAMPLE is target/release/examples/columns (`cargo build --release -p table --example columns`).
FOLDER is where the files are made. Needs numpy, pandas and pyarrow. Each program runs in a process of its own; the best
of three counts. Times of reading alone, without the start of Python.
"""
import json
import os
import subprocess
import sys

example, folder = sys.argv[1:3]
csv, parquet = os.path.join(folder, "numbers.csv"), os.path.join(folder, "numbers.parquet")
if not os.path.exists(parquet):
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(1)
    table = pd.DataFrame(random.normal(size=(1_000_000, 20)), columns=[f"c{index}" for index in range(20)])
    table["label"] = random.integers(0, 3, len(table))
    table.to_csv(csv, index=False, float_format="%.6g")
    table.to_parquet(parquet)

READ = """
import time
import {module}
begun = time.perf_counter()
{call}
print(time.perf_counter() - begun)
"""


def measured(command, seconds):
    """The best of three times, in seconds, and the process's peak memory, in MB."""
    best, peak = float("inf"), 0
    for _ in range(3):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        output = process.stdout.read()
        _, _, usage = os.wait4(process.pid, 0)
        best, peak = min(best, seconds(output)), max(peak, usage.ru_maxrss / 1024)
    return best, peak


def python(module, call):
    return measured([sys.executable, "-c", READ.format(module=module, call=call)], float)


def shoal(path):
    return measured([example, path], lambda output: json.loads(output)["seconds"])


for name, result in {
    "CSV, pandas' C reader": python("pandas", f"pandas.read_csv({csv!r})"),
    "CSV, pyarrow": python("pyarrow.csv", f"pyarrow.csv.read_csv({csv!r})"),
    "CSV, Shoal": shoal(csv),
    "Parquet, pyarrow": python("pyarrow.parquet", f"pyarrow.parquet.read_table({parquet!r})"),
    "Parquet, Shoal": shoal(parquet),
}.items():
    print(f"{name:24} {result[0]:6.2f} s {result[1]:7.0f} MB")
