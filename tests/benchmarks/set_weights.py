"""Set the engine's weights: `python tests/benchmarks/set_weights.py DATA [--folds 5]`.

Writes cloudfn/crop/weights.json, or with --folds says what weights set on the other folds are worth on each fold.
Needs PyTorch besides the package.

DATA is a folder with three sets of photographs, none of which may be shipped; each has `images/` and `meta.json`
(file name: {"w", "h", ...}):

- ecssd (Shi et al., "Hierarchical image saliency detection on extended CSSD", PAMI 2016): `gt/` has a mask of the
  salient object for each picture.
- humanseg: `gt/` has a mask of the people. Their heads are the top fifth of the mask's height.
- fcdb (Chen et al., "Quantitative analysis of automatic image cropping algorithms", WACV 2017): "boxes" in meta.json
  has the crop that a person drew, half-open.

What is optimised is what the engine does: for each picture and ratio the window slides over the map, a softmax over
its positions gives the expected share of the object, of the heads, or the expected intersection over union with the
person's crop. Maps are pooled to 32 x 32 meanwhile. The model is set with an unsharpened map and a learnt top weight;
the engine's sharper map and stronger top weight were chosen from the curve in README.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop import frame, picture, saliency, window
from cloudfn.crop.values import Box, Size

torch: Any = importlib.import_module("torch")

Array = npt.NDArray[Any]

RATIOS = (1.0, 2.35, 16 / 9, 3 / 4, 9 / 16, 4 / 3)
SIDE = saliency.CELLS // 2
POSITIONS = 41
STEPS, RATE, DECAY = 80, 0.08, 4e-3
HEADS, PEOPLE, PIXELS = 0.2, 0.5, 0.2  # weights of the losses beside that of the objects
SOFTNESS = 0.03  # of the softmax, in shares of the saliency
SIDES = ("side", "top", "bottom")
OUT = Path(saliency.__file__).with_name("weights.json")


class Slide(NamedTuple):
    """One picture and ratio: which axis slides (0: x), the window's share of it, and what each position is worth."""

    photo: int
    axis: int
    share: float
    worth: Array


class Photo(NamedTuple):
    kind: str
    size: Size
    rgb: Array
    mask: Array  # of the object, (SIDE, SIDE), 0..1
    drawn: Box  # fcdb: by a person; else the whole picture


def slide(number: int, size: Size, ratio: float, worth: Callable[[Box], float]) -> Slide:
    wide, high = window.largest(size, ratio)
    axis = 0 if wide < size.width else 1
    starts = np.round(np.linspace(0, size[axis] - (wide, high)[axis], POSITIONS)).astype(int)
    boxes = [Box(at, 0, at + wide, high) if axis == 0 else Box(0, at, wide, at + high) for at in starts.tolist()]
    return Slide(number, axis, (wide, high)[axis] / size[axis], np.array([worth(box) for box in boxes]))


def overlap(box: Box, other: Box) -> float:
    """Intersection over union."""
    x, y = (max(0, min(box[i + 2], other[i + 2]) - max(box[i], other[i])) for i in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return x * y / (sum(areas) - x * y)


def kept(mask: Array, box: Box) -> float:
    """Pixels of the mask inside the box."""
    return float(mask[box.top : box.bottom, box.left : box.right].sum())


def load(data: Path) -> tuple[list[Photo], list[Slide]]:
    photos: list[Photo] = []
    found: list[Slide] = []
    for kind in ("ecssd", "humanseg", "fcdb"):
        for name, meta in sorted(json.loads((data / kind / "meta.json").read_bytes()).items()):
            rgb, size = picture.read_grid((data / kind / "images" / name).read_bytes(), saliency.FINE, picture.Limits())
            if kind == "fcdb":
                drawn = Box(*meta["boxes"][0])
                ratio = (drawn.right - drawn.left) / (drawn.bottom - drawn.top)
                found.append(slide(len(photos), size, ratio, partial(overlap, drawn)))
                photos.append(Photo(kind, size, rgb, np.zeros((SIDE, SIDE)), drawn))
                continue
            image = Image.open((data / kind / "gt" / name).with_suffix(".png")).convert("L")
            mask = np.asarray(image) > 127
            wanted = mask.copy()
            if kind == "humanseg":
                rows = np.flatnonzero(mask.any(axis=1))
                wanted[rows[0] + max(1, (rows[-1] + 1 - rows[0]) // 5) :] = False
            found += [slide(len(photos), size, ratio, partial(kept, wanted)) for ratio in RATIOS]
            cells = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255
            photos.append(Photo(kind, size, rgb, cells, Box(0, 0, *size)))
    return photos, found


def pooled(maps: Array) -> Array:
    return np.asarray(maps.reshape(*maps.shape[:-2], SIDE, 2, SIDE, 2).mean(axis=(-3, -1)))


def feature_maps(photos: list[Photo]) -> Array:
    """(photos, 2 x features, SIDE, SIDE): each feature as it is, then each blurred wide."""
    maps = np.empty((len(photos), 2 * len(saliency.FEATURES), SIDE, SIDE), dtype=np.float32)
    for number, photo in enumerate(photos):
        layers = saliency.Layers(photo.rgb)
        raw = np.stack([saliency.feature_map(name, layers) for name in saliency.FEATURES])
        maps[number] = np.concatenate([pooled(raw), pooled(saliency.wide(raw))])
    return maps


def profiles(maps: Any, top: Any) -> tuple[Any, Any]:
    """Shares of the top-weighted maps by column and by row."""
    rows = maps.sum(2)
    above = (rows.cumsum(1) - rows) / rows.sum(1, keepdim=True)
    weighted = maps * (1 - top * above)[:, :, None]
    total = weighted.sum((1, 2))[:, None]
    return weighted.sum(1) / total, weighted.sum(2) / total


class Trainer:
    """The photographs as tensors, and the losses of a model on any of them."""

    def __init__(self, photos: list[Photo], found: list[Slide]) -> None:
        maps, places = feature_maps(photos), pooled(np.stack(list(saliency.PLACES.values())))
        self.scale = np.concatenate([maps.std(axis=(0, 2, 3)), places.std(axis=(1, 2))])
        self.shift = np.concatenate([maps.mean(axis=(0, 2, 3)), places.mean(axis=(1, 2))])
        count = maps.shape[1]
        self.maps = torch.tensor((maps - self.shift[:count, None, None]) / self.scale[:count, None, None])
        self.places = torch.tensor((places - self.shift[count:, None, None]) / self.scale[count:, None, None]).float()
        self.kinds = np.array([photo.kind for photo in photos])
        self.masks = torch.tensor(np.stack([photo.mask for photo in photos])).float()
        self.photo = torch.tensor([slide.photo for slide in found])
        self.axis = torch.tensor([slide.axis for slide in found])
        self.share = torch.tensor([slide.share for slide in found])[:, None]
        worth = np.stack([slide.worth for slide in found])
        self.kept = torch.tensor(worth / np.maximum(worth.max(axis=1, keepdims=True), 1e-9)).float()
        masked = np.array([photos[slide.photo].kind != "fcdb" for slide in found])
        self.worth = torch.where(torch.tensor(masked)[:, None], self.kept, torch.tensor(worth).float())

    def logits(self, weights: Any, bias: Any, which: Any) -> Any:
        count = self.maps.shape[1]
        local = torch.einsum("nfij,f->nij", self.maps[which], weights[:count])
        return local + torch.einsum("fij,f->ij", self.places, weights[count:]) + bias

    def shares(self, maps: Any, top: Any, which: Any) -> tuple[Any, Any]:
        """Shares of the saliency at each position, and the numbers of the slides that belong to `which`."""
        place = torch.full((len(self.kinds),), -1)
        place[which] = torch.arange(len(which))
        chosen = torch.nonzero(place[self.photo] >= 0)[:, 0]
        columns, rows = profiles(maps, top)
        at = place[self.photo[chosen]]
        profile = torch.where(self.axis[chosen][:, None] == 0, columns[at], rows[at])
        cumulated = torch.nn.functional.pad(profile.cumsum(1), (1, 0))
        start = torch.linspace(0, 1, POSITIONS)[None] * (1 - self.share[chosen])

        def read(position: Any) -> Any:
            cell = (position * SIDE).floor().clamp(0, SIDE - 1).long()
            part = position * SIDE - cell
            return cumulated.gather(1, cell) * (1 - part) + cumulated.gather(1, cell + 1) * part

        return read(start + self.share[chosen]) - read(start), chosen

    def fit(self, which: Any) -> tuple[Array, float]:
        """Weights and bias in the units of the features."""
        weights = torch.zeros(len(self.scale), requires_grad=True)
        bias, top = torch.tensor(-1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
        optimiser = torch.optim.Adam([weights, bias, top], lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        objects = which[self.kinds[which.numpy()] == "ecssd"]
        for _ in range(STEPS):
            optimiser.zero_grad()
            logits = self.logits(weights, bias, which)
            shares, chosen = self.shares(torch.sigmoid(logits), torch.sigmoid(top), which)
            lost = 1 - (torch.softmax(shares / SOFTNESS, 1) * self.kept[chosen]).sum(1)
            kinds = self.kinds[self.photo[chosen].numpy()]
            masked = torch.isin(which, objects)
            loss = (
                lost[kinds == "ecssd"].mean()
                + HEADS * lost[kinds == "humanseg"].mean()
                + PEOPLE * lost[kinds == "fcdb"].mean()
                + PIXELS * torch.nn.functional.binary_cross_entropy_with_logits(logits[masked], self.masks[objects])
                + DECAY * (weights**2).sum()
            )
            loss.backward()
            optimiser.step()
            schedule.step()
        scaled = weights.detach().numpy() / self.scale
        return scaled, float(bias.detach() - (scaled * self.shift).sum())


def engine_map(photo: Photo, model: saliency.Weights) -> saliency.Map:
    layers = saliency.Layers(photo.rgb)
    return saliency.saliency_map(layers, saliency.face_windows(layers, photo.size), model)


def fit_margins(photos: list[Photo], model: saliency.Weights) -> dict[str, list[float]]:
    """The weights of `frame.free_box`: largest mean intersection over union with what people drew."""
    drawn = [photo for photo in photos if photo.kind == "fcdb"]
    rows = np.stack([frame.features(engine_map(p, model).astype(float), p.size) for p in drawn])
    inputs, boxes = torch.tensor(rows).float(), torch.tensor([np.array(p.drawn) / (p.size * 2) for p in drawn]).float()
    spread = inputs.std((0, 1)) + (inputs.std((0, 1)) == 0)
    weights = torch.zeros(3, inputs.shape[2])
    weights[:, -1] = 0.06
    weights.requires_grad_(True)
    optimiser = torch.optim.Adam([weights], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 200)
    for _ in range(200):
        optimiser.zero_grad()
        linear = (inputs / spread * weights[[0, 0, 1, 2]]).sum(2)
        left, right, top, bottom = (torch.nn.functional.softplus(40 * linear) / 40).T
        x = (torch.minimum(1 - right, boxes[:, 2]) - torch.maximum(left, boxes[:, 0])).clamp(min=0)
        y = (torch.minimum(1 - bottom, boxes[:, 3]) - torch.maximum(top, boxes[:, 1])).clamp(min=0)
        area = (1 - left - right) * (1 - top - bottom)
        theirs = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        loss = (1 - x * y / (area + theirs - x * y)).mean() + 0.3 * (weights[:, :-1] ** 2).sum()
        loss.backward()
        optimiser.step()
        schedule.step()
    fitted = (weights.detach() / spread).numpy()
    return {side: [round(float(w), 4) for w in row] for side, row in zip(SIDES, fitted, strict=True)}


def as_model(weights: Array, bias: float) -> saliency.Weights:
    names, count = list(saliency.FEATURES), len(saliency.FEATURES)
    rounded = [round(float(weight), 4) for weight in weights]
    features = {name: (rounded[i], rounded[count + i]) for i, name in enumerate(names)}
    return saliency.Weights(round(bias, 4), features, dict(zip(saliency.PLACES, rounded[2 * count :], strict=True)), {})


def measure(trainer: Trainer, photos: list[Photo], model: saliency.Weights, which: Any) -> dict[str, float]:
    """Mean worth of the best positions on the engine's own maps, by kind, and of the free box."""
    chosen_photos = [photos[i] for i in which.tolist()]
    saliencies = [engine_map(photo, model) for photo in chosen_photos]
    maps = torch.tensor(np.stack([pooled(found) for found in saliencies]))
    shares, chosen = trainer.shares(maps, 0.0, which)  # the engine's maps are top-weighted already
    worth = trainer.worth[chosen].gather(1, shares.argmax(1, keepdim=True))[:, 0].numpy()
    kinds = trainer.kinds[trainer.photo[chosen].numpy()]
    report = {kind: float(worth[kinds == kind].mean()) for kind in ("ecssd", "humanseg", "fcdb")}
    free = [
        overlap(frame.free_box(found.astype(float), photo.size, model.margins), photo.drawn)
        for photo, found in zip(chosen_photos, saliencies, strict=True)
        if photo.kind == "fcdb"
    ]
    return {**report, "free": float(np.mean(free))}


def folds(photos: list[Photo], count: int) -> Iterator[tuple[Any, Any]]:
    """Numbers of the photographs to set weights on, and of those to measure on."""
    fold = np.random.default_rng(0).permutation(len(photos)) % count
    for number in range(count):
        yield torch.tensor(np.flatnonzero(fold != number)), torch.tensor(np.flatnonzero(fold == number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=0)
    args = parser.parse_args()
    photos, found = load(args.data)
    trainer = Trainer(photos, found)

    def trained(which: Any) -> saliency.Weights:
        model = as_model(*trainer.fit(which))
        return model._replace(margins=fit_margins([photos[i] for i in which.tolist()], model))

    if args.folds:
        reports = [measure(trainer, photos, trained(fit), test) for fit, test in folds(photos, args.folds)]
        print({kind: round(float(np.mean([report[kind] for report in reports])), 4) for kind in reports[0]})
    else:
        OUT.write_text(json.dumps(trained(torch.arange(len(photos)))._asdict(), indent=1) + "\n")


if __name__ == "__main__":
    main()
