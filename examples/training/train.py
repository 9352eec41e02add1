#!/usr/bin/python3
"""Train a classifier on a folder that a bundle is mounted on: the pretrained projection is
mapped from its safetensors file, the samples are read in a new random order each epoch.

  train.py FOLDER [--epochs 2] [--batch 256] [--readers 8]
"""
import argparse
import concurrent.futures
import json
import pathlib
import struct
import time

import numpy


def load_safetensors(path):
    """Each tensor is mapped: its bytes come when they are used."""
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
    header.pop("__metadata__", None)
    return {name: numpy.memmap(path, "<f4", "r", 8 + n + t["data_offsets"][0], tuple(t["shape"]))
            for name, t in header.items()}


def read_sample(path):
    return numpy.frombuffer(path.read_bytes(), "<f4"), int(path.stem.rsplit("-", 1)[1])


class Classifier:
    """Logistic regression on fixed random features."""

    def __init__(self, projection):
        self.projection = projection
        self.weights = numpy.zeros(projection.shape[1], "f4")

    def step(self, x, y, rate=0.05):
        """One step of gradient descent; the loss before it."""
        hidden = numpy.maximum(x @ self.projection, 0)
        p = 1 / (1 + numpy.exp(-hidden @ self.weights))
        self.weights -= rate * hidden.T @ (p - y) / len(y)
        return -numpy.mean(numpy.log(numpy.where(y == 1, p, 1 - p) + 1e-9))


def main():
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("--epochs", type=int, default=2)
    args.add_argument("--batch", type=int, default=256)
    args.add_argument("--readers", type=int, default=8)
    args = args.parse_args()

    model = Classifier(load_safetensors(args.folder / "model.safetensors")["projection"])
    samples = sorted((args.folder / "samples").glob("*/*.f32"))
    rng = numpy.random.default_rng(7)
    with concurrent.futures.ThreadPoolExecutor(args.readers) as readers:
        for epoch in range(args.epochs):
            start, losses = time.monotonic(), []
            order = rng.permutation(len(samples))
            for at in range(0, len(order), args.batch):
                x, y = zip(*readers.map(read_sample, (samples[i] for i in order[at:at + args.batch])))
                losses.append(model.step(numpy.stack(x), numpy.array(y)))
            took = time.monotonic() - start
            print(f"epoch {epoch}: loss {numpy.mean(losses):.6f}, {len(samples) / took:.0f} samples/s", flush=True)


main()
