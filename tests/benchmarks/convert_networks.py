"""Take the engine's two networks out of MediaPipe's wheel: `python -m tests.benchmarks.convert_networks WHEEL`.

WHEEL is `mediapipe-0.10.21-*.whl` from PyPI (`pip download --no-deps mediapipe==0.10.21`), Apache License 2.0. Writes
cloudfn/crop/faces.npz, in 16-bit floats, as the wheel has them; that for people is where `set_weights.py` starts from.
Needs the package `tflite` (2.18) besides.
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


def people_layers() -> list[str]:
    """The layers of the first half, in the file's order."""
    names = ["stem"]
    for block in range(8):
        squeeze = ["squeeze", "excite"] if block in _SQUEEZING else []
        names += [f"{block}.{layer}" for layer in ("expand", "filter", *squeeze, "project")]
    return names


def face_layers() -> list[str]:
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


def convert(wheel: Path, name: str, names: list[str]) -> dict[str, npt.NDArray[np.float16]]:
    """Read a network of the wheel; pointwise kernels become matrices, depthwise ones (size, size, channels)."""
    with zipfile.ZipFile(wheel) as files:
        file = files.read(f"mediapipe/modules/{name}.tflite")
    arrays = {}
    for name, (kernel, bias) in zip(names, convolutions(file), strict=False):  # the second half is left out
        if name.endswith(".filter"):
            kernel = kernel[0]
        elif kernel.shape[1:3] == (1, 1):
            kernel = kernel[:, 0, 0]
        arrays[f"{name}.kernel"], arrays[f"{name}.bias"] = kernel, bias
    return arrays


def published_people(wheel: Path) -> dict[str, npt.NDArray[np.float16]]:
    """The first half of the network for selfie segmentation, by name of the layer."""
    return convert(wheel, "selfie_segmentation/selfie_segmentation", people_layers())


def save(path: Path, arrays: dict[str, npt.NDArray[np.float16]]) -> None:
    write: Any = np.savez_compressed  # its type has no place for names that are made elsewhere
    write(path, **arrays)


def main() -> None:
    save(OUT / "faces.npz", convert(Path(sys.argv[1]), "face_detection/face_detection_short_range", face_layers()))


if __name__ == "__main__":
    main()
