"""Take the engine's two networks out of MediaPipe's wheel: `python tests/benchmarks/convert_networks.py WHEEL`.

WHEEL is `mediapipe-0.10.21-*.whl` from PyPI (`pip download --no-deps mediapipe==0.10.21`), Apache License 2.0. Writes
cloudfn/crop/people.npz and faces.npz: 16-bit floats, as the wheel has them. Needs the package `tflite` (2.18) besides.
"""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cloudfn.crop import faces

tflite: Any = importlib.import_module("tflite")

OUT = Path(faces.__file__).parent
_SQUEEZING = (0, 3, 4, 5, 6, 7)  # the blocks of the segmentation network that weigh their channels


def people() -> list[str]:
    """The layers of the first half, in the file's order."""
    names = ["stem"]
    for block in range(8):
        squeeze = ["squeeze", "excite"] if block in _SQUEEZING else []
        names += [f"{block}.{layer}" for layer in ("expand", "filter", *squeeze, "project")]
    return names


def blazeface() -> list[str]:
    blocks = [f"{block}.{layer}" for block in range(16) for layer in ("filter", "project")]
    return ["stem", *blocks, "fine.score", "coarse.score", "fine.box", "coarse.box"]


def convolutions(file: bytes) -> Iterator[tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]]:
    """Kernel and bias of each convolution, in order."""
    model = tflite.Model.GetRootAsModel(file, 0)
    graph = model.Subgraphs(0)
    stored: dict[int, npt.NDArray[np.float16]] = {}
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        inputs = [int(at) for at in operator.InputsAsNumpy()]
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            tensor = graph.Tensors(inputs[0])
            values = model.Buffers(tensor.Buffer()).DataAsNumpy().view(np.float16)
            stored[int(operator.OutputsAsNumpy()[0])] = values.reshape(tensor.ShapeAsNumpy())
        elif kind in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            yield stored[inputs[1]], stored[inputs[2]]


def convert(file: bytes, names: list[str], out: Path) -> None:
    """Pointwise kernels become matrices, depthwise ones (size, size, channels)."""
    arrays = {}
    for name, (kernel, bias) in zip(names, convolutions(file), strict=False):  # the second half is left out
        if name.endswith(".filter"):
            kernel = kernel[0]
        elif kernel.shape[1:3] == (1, 1):
            kernel = kernel[:, 0, 0]
        arrays[f"{name}.kernel"], arrays[f"{name}.bias"] = kernel, bias
    save: Any = np.savez_compressed  # its type has no place for names that are made here
    save(out, **arrays)


def main() -> None:
    modules = "mediapipe/modules"
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        selfie = wheel.read(f"{modules}/selfie_segmentation/selfie_segmentation.tflite")
        short_range = wheel.read(f"{modules}/face_detection/face_detection_short_range.tflite")
    convert(selfie, people(), OUT / "people.npz")
    convert(short_range, blazeface(), OUT / "faces.npz")


if __name__ == "__main__":
    main()
