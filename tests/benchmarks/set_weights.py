"""Set the engine's weights: `python tests/benchmarks/set_weights.py DATA [--folds 5 [--ablate]]`.

Writes cloudfn/crop/weights.json, or with --folds says what weights set on the other folds are worth on each fold; with
--ablate besides, what they are worth when a part is left out and the rest is set again. Needs PyTorch besides the
package.

DATA is a folder with three sets of photographs, none of which may be shipped; each has `images/` and `meta.json`
(file name: {"w", "h", ...}):

- ecssd (Shi et al., "Hierarchical image saliency detection on extended CSSD", PAMI 2016): `gt/` has a mask of the
  salient object for each picture.
- humanseg: `gt/` has a mask of the people. Their heads are the top fifth of the mask's height.
- fcdb (Chen et al., "Quantitative analysis of automatic image cropping algorithms", WACV 2017): "boxes" in meta.json
  has the crop that a person drew, half-open.

What is optimised is what the engine does: for each picture and ratio the window slides over the map, a softmax over
its positions gives the expected share of the object, of the heads, or the expected intersection over union with the
person's crop. Maps are pooled to 32 x 32 meanwhile. The model is set with a learnt top weight; the engine's own was
chosen from the curve in README.md.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop import margins, people, picture, saliency, window
from cloudfn.crop.values import Box, Size

torch: Any = importlib.import_module("torch")

Array = npt.NDArray[Any]

RATIOS = (1.0, 2.35, 16 / 9, 3 / 4, 9 / 16, 4 / 3)
SIDE = saliency.CELLS // 2
POSITIONS = 41
STEPS, AGAIN, RATE, DECAY = 80, 20, 0.08, 1e-2
HEADS, PEOPLE, PIXELS = 0.2, 0.5, 0.2  # weights of the losses beside that of the objects
SOFTNESS = 0.03  # of the softmax, in shares of the saliency
SIDES = ("side", "top", "bottom")
CHANNELS = sum(people.LEVELS.values())
COUNT = CHANNELS + len(saliency.FEATURES)
OUT = Path(saliency.__file__).with_name("weights.json")


class Slide(NamedTuple):
    """One picture and ratio: which axis slides (0: x), the window's share of it, and what each position is worth."""

    photo: int
    ratio: float
    axis: int
    share: float
    worth: Array


class Photo(NamedTuple):
    kind: str
    name: str
    size: Size
    rgb: Array
    mask: Array  # of the object, (SIDE, SIDE), 0..1
    drawn: Box  # fcdb: by a person; else the whole picture


class Start(NamedTuple):
    """A model as tensors."""

    weights: Any
    bias: Any
    top: Any


def slide(number: int, size: Size, ratio: float, worth: Callable[[Box], float]) -> Slide:
    wide, high = window.largest(size, ratio)
    axis = 0 if wide < size.width else 1
    starts = np.round(np.linspace(0, size[axis] - (wide, high)[axis], POSITIONS)).astype(int)
    boxes = [Box(at, 0, at + wide, high) if axis == 0 else Box(0, at, wide, at + high) for at in starts.tolist()]
    return Slide(number, ratio, axis, (wide, high)[axis] / size[axis], np.array([worth(box) for box in boxes]))


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
                photos.append(Photo(kind, name, size, rgb, np.zeros((SIDE, SIDE)), drawn))
                continue
            image = Image.open((data / kind / "gt" / name).with_suffix(".png")).convert("L")
            mask = np.asarray(image) > 127
            wanted = mask.copy()
            if kind == "humanseg":
                rows = np.flatnonzero(mask.any(axis=1))
                wanted[rows[0] + max(1, (rows[-1] + 1 - rows[0]) // 5) :] = False
            found += [slide(len(photos), size, ratio, partial(kept, wanted)) for ratio in RATIOS]
            cells = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255
            photos.append(Photo(kind, name, size, rgb, cells, Box(0, 0, *size)))
    return photos, found


def pooled(maps: Array) -> Array:
    return np.asarray(maps.reshape(*maps.shape[:-2], SIDE, 2, SIDE, 2).mean(axis=(-3, -1)))


def feature_maps(photos: list[Photo]) -> Array:
    """(photos, 2 x maps, SIDE, SIDE): the network's maps and the features as they are, then each blurred wide."""
    maps = np.empty((len(photos), 2 * COUNT, SIDE, SIDE), dtype=np.float32)
    for number, photo in enumerate(photos):
        layers = saliency.Layers(photo.rgb)
        features = [saliency.feature_map(name, layers) for name in saliency.FEATURES]
        levels = [saliency.enlarged(level) for level in people.levels(photo.rgb)]
        raw = np.concatenate([*levels, np.stack(features)])
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

    def fit(self, which: Any, start: Start | None = None, held: Sequence[int] = ()) -> Start:
        """The model, its weights in units of a feature's spread; `held` are weights that stay 0."""
        begun = start or Start(torch.zeros(len(self.scale)), torch.tensor(-1.0), torch.tensor(0.0))
        weights, bias, top = (value.clone() for value in begun)
        free = torch.ones(len(self.scale))
        free[list(held)] = 0
        weights *= free
        steps = STEPS if start is None else AGAIN
        values = [value.requires_grad_(True) for value in (weights, bias, top)]
        optimiser = torch.optim.Adam(values, lr=RATE if start is None else RATE / 4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        objects = which[self.kinds[which.numpy()] == "ecssd"]
        for _ in range(steps):
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
            weights.grad *= free
            optimiser.step()
            schedule.step()
        return Start(*(value.detach() for value in values))

    def worth_by_kind(self, fitted: Start, which: Any) -> dict[str, float]:
        """Mean worth of the best positions under the engine's top weight."""
        with torch.no_grad():
            maps = torch.sigmoid(self.logits(fitted.weights, fitted.bias, which))
            shares, chosen = self.shares(maps, saliency.TOP, which)
        worth = self.worth[chosen].gather(1, shares.argmax(1, keepdim=True))[:, 0].numpy()
        kinds = self.kinds[self.photo[chosen].numpy()]
        return {kind: float(worth[kinds == kind].mean()) for kind in ("ecssd", "humanseg", "fcdb")}

    def model(self, fitted: Start) -> saliency.Weights:
        """The model in the units of the features."""
        scaled = fitted.weights.numpy() / self.scale
        return as_model(scaled, float(fitted.bias - (scaled * self.shift).sum()))


def engine_map(photo: Photo, model: saliency.Weights) -> Array:
    return saliency.saliency_map(saliency.Layers(photo.rgb), model)


def fit_margins(photos: list[Photo], model: saliency.Weights) -> dict[str, list[float]]:
    """The weights of `margins.free_box`: largest mean intersection over union with what people drew."""
    drawn = [photo for photo in photos if photo.kind == "fcdb"]
    rows = np.stack([margins.features(engine_map(p, model).astype(float), p.size) for p in drawn])
    inputs = torch.tensor(rows).float()
    boxes = torch.tensor(np.array([np.array(p.drawn) / (p.size * 2) for p in drawn])).float()
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
    rounded = [round(float(weight), 5) for weight in weights]
    pairs = list(zip(rounded[:COUNT], rounded[COUNT : 2 * COUNT], strict=True))
    rest = iter(pairs)
    levels = [[next(rest) for _ in range(channels)] for channels in people.LEVELS.values()]
    features = dict(zip(saliency.FEATURES, rest, strict=True))
    places = dict(zip(saliency.PLACES, rounded[2 * COUNT :], strict=True))
    return saliency.Weights(round(bias, 4), levels, features, places, {})


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
        overlap(margins.free_box(found.astype(float), photo.size, model.margins), photo.drawn)
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
    parser.add_argument("--ablate", action="store_true")
    args = parser.parse_args()
    photos, found = load(args.data)
    trainer = Trainer(photos, found)

    def trained(which: Any) -> saliency.Weights:
        model = trainer.model(trainer.fit(which))
        return model._replace(margins=fit_margins([photos[i] for i in which.tolist()], model))

    if args.ablate:
        ablate(trainer, photos, args.folds)
    elif args.folds:
        reports = [measure(trainer, photos, trained(fit), test) for fit, test in folds(photos, args.folds)]
        print({kind: round(float(np.mean([report[kind] for report in reports])), 4) for kind in reports[0]})
    else:
        OUT.write_text(json.dumps(trained(torch.arange(len(photos)))._asdict(), indent=1) + "\n")


def parts() -> dict[str, list[int]]:
    """The weights that belong to each part of the model."""
    named: dict[str, list[int]] = {"nothing": []}
    at = 0
    for block, channels in people.LEVELS.items():
        named[f"the network's block {block}"] = [*range(at, at + channels), *range(COUNT + at, COUNT + at + channels)]
        at += channels
    named["the network"] = [*range(CHANNELS), *range(COUNT, COUNT + CHANNELS)]
    for number, name in enumerate(saliency.FEATURES, CHANNELS):
        named[name] = [number, COUNT + number]
    named["all features"] = [*range(CHANNELS, COUNT), *range(COUNT + CHANNELS, 2 * COUNT)]
    named["all wide neighbourhoods"] = [*range(COUNT, 2 * COUNT)]
    named["all places"] = [*range(2 * COUNT, 2 * COUNT + len(saliency.PLACES))]
    return named


def ablate(trainer: Trainer, photos: list[Photo], count: int) -> None:
    """Print the three columns without each part: the first line is without none, the others are differences to it."""
    splits = list(folds(photos, count))
    full = [trainer.fit(fit) for fit, _ in splits]
    whole: dict[str, float] = {}
    for name, held in parts().items():
        totals: dict[str, list[float]] = {}
        for (fit, test), start in zip(splits, full, strict=True):
            found = trainer.worth_by_kind(trainer.fit(fit, start, held), test)
            for kind, worth in found.items():
                totals.setdefault(kind, []).append(worth)
        means = {kind: float(np.mean(values)) for kind, values in totals.items()}
        whole = whole or means
        figures = [f"{mean - whole[kind]:+.4f}" if held else f"{mean:.4f}" for kind, mean in means.items()]
        print("|", " | ".join([name, *figures]), "|", flush=True)


if __name__ == "__main__":
    main()
