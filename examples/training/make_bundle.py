#!/usr/bin/python3
"""Make the folder of a bundle to train on: a pretrained projection in a safetensors file
and many small samples of two kinds.

  make_bundle.py FOLDER [--samples 50000] [--features 64] [--width 1024]
"""
import argparse
import json
import pathlib
import struct

import numpy

BUNDLE = """\
bundle:
  name: two-kinds
  version: 1.0.0
  layers:
    - name: weights
      paths: ["model.safetensors"]
    - name: samples
      paths: ["samples/**"]
  roles:
    default: [weights, samples]
    inference: [weights]
"""


def write_safetensors(path, tensors):
    """https://huggingface.co/docs/safetensors: a length, a JSON header, the bytes."""
    header, at = {}, 0
    for name, t in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.astype("<f4").tobytes())


def main():
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=pathlib.Path)
    args.add_argument("--samples", type=int, default=50000)
    args.add_argument("--features", type=int, default=64)
    args.add_argument("--width", type=int, default=1024)
    args = args.parse_args()

    rng = numpy.random.default_rng(1)
    args.folder.mkdir(parents=True, exist_ok=True)
    (args.folder / ".mops-bundle.yaml").write_text(BUNDLE, encoding="ascii")
    projection = rng.standard_normal((args.features, args.width), dtype="f4") / numpy.sqrt(args.features)
    write_safetensors(args.folder / "model.safetensors", {"projection": projection})

    labels = rng.integers(0, 2, args.samples)
    away = rng.standard_normal(args.features, dtype="f4") / 4
    for i, label in enumerate(labels):
        folder = args.folder / "samples" / f"{i // 500:03}"
        folder.mkdir(parents=True, exist_ok=True)
        values = rng.standard_normal(args.features, dtype="f4") + (2 * label - 1) * away
        (folder / f"{i:06}-{label}.f32").write_bytes(values.astype("<f4").tobytes())


main()
