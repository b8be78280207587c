"""Set the engine's weights: `python -m tests.benchmarks.set_weights DATA WHEEL [--folds 3]`.

Goes from the network as MediaPipe publishes it (WHEEL, see `convert_networks.py`) to cloudfn/crop/people.npz and
weights.json, or with --folds says what weights set on the other folds are worth on each fold. The seed is fixed. Needs
PyTorch and tflite besides the package; nothing else in the repository does.

DATA is a folder with three sets of photographs, none of which may be shipped; each has `images/` and `meta.json`
(file name: {...}):

- ecssd (Shi et al., "Hierarchical image saliency detection on extended CSSD", PAMI 2016): `gt/` has a mask of the
  salient object for each picture.
- humanseg: `gt/` has a mask of the people.
- fcdb (Chen et al., "Quantitative analysis of automatic image cropping algorithms", WACV 2017): "boxes" in meta.json
  has the crop that a person drew, half-open.

`heads.json` beside this file has boxes of the heads of people and animals in the first two, drawn by hand for this
project: {"<set>/<file>": {"w", "h", "heads": [{"box": [left, top, right, bottom], "kind"}]}}, half-open pixels; other
pictures may have "heads" in meta.json.

What is optimised is what the engine does: for each picture and ratio the window slides over the map, a softmax over
its positions gives the expected share of the object, of the heads, or the expected intersection over union with the
person's crop. The network and the logistic model above it are tuned together, in several runs, which differ in their
order and jitter. The mean of what these see teaches as many again (Hinton et al., "Distilling the knowledge in a neural
network", 2015); what ships is the mean of the weights of the second ones. Maps have 32 x 32 cells meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from cloudfn.crop import convolution, margins, people, picture, saliency, window
from cloudfn.crop.values import Box, Size
from tests.benchmarks import convert_networks

torch: Any = importlib.import_module("torch")
F: Any = importlib.import_module("torch.nn.functional")

Array = npt.NDArray[Any]
Tensor = Any

RATIOS = (1.0, 2.35, 16 / 9, 3 / 4, 9 / 16, 4 / 3)
SIDE = saliency.CELLS // 2
POSITIONS = 41
SEEDS = (0, 1, 2)
EPOCHS, BATCH, RATE, DECAY = 10, 64, 1e-3, 1e-3
START_STEPS, START_RATE, START_DECAY = 60, 0.08, 1e-2  # of the model above the published network
WEIGHTS = {"objects": 1.0, "people's heads": 0.2, "crops": 0.5, "heads": 0.15, "animals' heads": 0.15}  # of the losses
PIXELS = 0.2  # weight of the cross-entropy with the mask
TAUGHT = 1.0  # weight of the cross-entropy with what the first runs see
TOP = 0.3  # while the weights are set, each row counts less, the more of the map is above it; README.md has the curve
SOFTNESS = 0.03  # of the softmax, in shares of the saliency
FEATURES = len(saliency.FEATURES)
OUT = Path(saliency.__file__).parent


class Slide(NamedTuple):
    """One picture and ratio: which axis slides (0: x), the window's share of it, and what each position is worth."""

    photo: int
    kind: str
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
    heads: tuple[Box, ...]


def slide(number: int, kind: str, size: Size, ratio: float, worth: Callable[[Box], float]) -> Slide:
    wide, high = window.largest(size, ratio)
    axis = 0 if wide < size.width else 1
    starts = np.round(np.linspace(0, size[axis] - (wide, high)[axis], POSITIONS)).astype(int)
    boxes = [Box(at, 0, at + wide, high) if axis == 0 else Box(0, at, wide, at + high) for at in starts.tolist()]
    return Slide(number, kind, ratio, axis, (wide, high)[axis] / size[axis], np.array([worth(box) for box in boxes]))


def overlap(box: Box, other: Box) -> float:
    """Intersection over union."""
    x, y = (max(0, min(box[i + 2], other[i + 2]) - max(box[i], other[i])) for i in (0, 1))
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return x * y / (sum(areas) - x * y)


def kept(mask: Array, box: Box) -> float:
    """Pixels of the mask inside the box."""
    return float(mask[box.top : box.bottom, box.left : box.right].sum())


def load(data: Path) -> tuple[list[Photo], list[Slide]]:
    drawn_heads = json.loads(Path(__file__).with_name("heads.json").read_bytes())
    photos: list[Photo] = []
    found: list[Slide] = []
    for kind in ("ecssd", "humanseg", "fcdb"):
        for name, meta in sorted(json.loads((data / kind / "meta.json").read_bytes()).items()):
            rgb, size = picture.read_grid((data / kind / "images" / name).read_bytes(), saliency.FINE, picture.Limits())
            number = len(photos)
            if kind == "fcdb":
                drawn = Box(*meta["boxes"][0])
                ratio = (drawn.right - drawn.left) / (drawn.bottom - drawn.top)
                found.append(slide(number, "crops", size, ratio, partial(overlap, drawn)))
                photos.append(Photo(kind, name, size, rgb, np.zeros((SIDE, SIDE)), drawn, ()))
                continue
            image = Image.open((data / kind / "gt" / name).with_suffix(".png")).convert("L")
            wanted = np.asarray(image) > 127
            if kind == "humanseg":  # the top fifth of the people
                rows = np.flatnonzero(wanted.any(axis=1))
                wanted = wanted.copy()
                wanted[rows[0] + max(1, (rows[-1] + 1 - rows[0]) // 5) :] = False
            what = "objects" if kind == "ecssd" else "people's heads"
            found += [slide(number, what, size, ratio, partial(kept, wanted)) for ratio in RATIOS]
            heads = (meta if "heads" in meta else drawn_heads.get(f"{kind}/{name}", {})).get("heads", [])
            if heads:
                covered = np.zeros(wanted.shape, dtype=bool)
                for left, top, right, bottom in (head["box"] for head in heads):
                    covered[top:bottom, left:right] = True
                what = "heads" if any(head["kind"] == "person" for head in heads) else "animals' heads"
                found += [slide(number, what, size, ratio, partial(kept, covered)) for ratio in RATIOS[:5]]
            cells = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255
            boxes = tuple(Box(*head["box"]) for head in heads)
            photos.append(Photo(kind, name, size, rgb, cells, Box(0, 0, *size), boxes))
    return photos, [one for one in found if one.worth.max() > 0]


def pooled(maps: Array) -> Array:
    return np.asarray(maps.reshape(*maps.shape[:-2], SIDE, 2, SIDE, 2).mean(axis=(-3, -1)))


def feature_maps(photos: Sequence[Photo]) -> Array:
    """(photos, 2 x features, SIDE, SIDE): the features as they are, then each blurred wide."""
    maps = np.empty((len(photos), 2 * FEATURES, SIDE, SIDE), dtype=np.float32)
    for number, photo in enumerate(photos):
        layers = saliency.Layers(photo.rgb)
        raw = np.stack([saliency.feature_map(name, layers) for name in saliency.FEATURES])
        maps[number] = np.concatenate([pooled(raw), pooled(saliency.wide(raw))])
    return maps


# --- The network and the model above it ------------------------------------------------------------------------------


def padded(maps: Tensor, size: int, stride: int) -> Tensor:
    """`maps` with the zeros that "SAME" adds."""
    side = maps.shape[-1]
    missing = max((-(-side // stride) - 1) * stride + size - side, 0)
    return F.pad(maps, (missing // 2, missing - missing // 2) * 2)


def levels(network: dict[str, Tensor], maps: Tensor) -> list[Tensor]:
    """What `people.levels` computes, for pictures (n, 3, side, side) and not mirrored."""
    seen = []
    kernel = network["stem.kernel"].permute(0, 3, 1, 2)
    maps = F.hardswish(F.conv2d(padded(maps, 3, 2), kernel, network["stem.bias"], 2))
    for number, block in enumerate(people.BLOCKS):
        before, activation = maps, F.relu if block.activation is convolution.relu else F.hardswish

        def pointwise(maps: Tensor, layer: str, number: int = number) -> Tensor:
            kernel, bias = (network[f"{number}.{layer}.{part}"] for part in ("kernel", "bias"))
            return F.conv2d(maps, kernel[:, :, None, None], bias)

        maps = activation(pointwise(maps, "expand"))
        kernel = network[f"{number}.filter.kernel"].permute(2, 0, 1)[:, None]
        maps = padded(maps, kernel.shape[-1], block.stride)
        maps = activation(F.conv2d(maps, kernel, network[f"{number}.filter.bias"], block.stride, groups=maps.shape[1]))
        if block.squeezes:
            means = maps.mean((2, 3), keepdim=True)
            maps = maps * torch.sigmoid(pointwise(F.relu(pointwise(means, "squeeze")), "excite"))
        maps = pointwise(maps, "project")
        if block.stride == 1:
            maps = maps + before
        if number in people.LEVELS:
            seen.append(maps)
    return seen


class Model:
    """The network, and for each of its maps, each feature and each place a weight; those of maps in units of spread."""

    def __init__(self, network: dict[str, Tensor], features: int, places: int) -> None:
        self.network = {name: values.clone().requires_grad_() for name, values in network.items()}
        self.maps = [torch.zeros(2, channels, requires_grad=True) for channels in people.LEVELS.values()]
        self.features = torch.zeros(features, requires_grad=True)
        self.places = torch.zeros(places, requires_grad=True)
        self.bias = torch.tensor(-1.0, requires_grad=True)

    def above(self) -> list[Tensor]:
        return [*self.maps, self.features, self.places]

    def values(self) -> list[Tensor]:
        return [*self.network.values(), *self.above(), self.bias]


class Trainer:
    """The photographs as tensors, and the losses of a model on any of them."""

    def __init__(self, photos: list[Photo], found: list[Slide], network: dict[str, Tensor]) -> None:
        torch.set_num_threads(1)  # what several threads add up depends on how many there are
        features, places = feature_maps(photos), pooled(np.stack(list(saliency.PLACES.values())))
        self.network, self.photos = network, photos
        self.feature_scale, self.feature_shift = features.std(axis=(0, 2, 3)), features.mean(axis=(0, 2, 3))
        self.place_scale, self.place_shift = places.std(axis=(1, 2)), places.mean(axis=(1, 2))
        self.features = torch.tensor(
            (features - self.feature_shift[:, None, None]) / self.feature_scale[:, None, None]
        ).float()
        self.places = torch.tensor((places - self.place_shift[:, None, None]) / self.place_scale[:, None, None]).float()
        self.rgb = torch.tensor(np.stack([photo.rgb for photo in photos])).permute(0, 3, 1, 2)
        self.masks = torch.tensor(np.stack([photo.mask for photo in photos])).float()
        self.masked = torch.tensor([photo.kind == "ecssd" for photo in photos])
        self.kinds = np.array([one.kind for one in found])
        self.axis = torch.tensor([one.axis for one in found])
        self.share = torch.tensor([one.share for one in found])[:, None]
        worth = torch.tensor(np.stack([one.worth for one in found])).float()
        self.kept = worth / worth.amax(dim=1, keepdim=True)
        self.worth = torch.where(torch.tensor(self.kinds == "crops")[:, None], worth, self.kept)
        owners = np.array([one.photo for one in found])
        self.slides = [torch.tensor(np.flatnonzero(owners == number)) for number in range(len(photos))]
        halves = np.kron(np.eye(SIDE), [[0.5, 0.5]]).astype(np.float32)
        self.taught: Tensor = None  # saliency of all photographs as the first runs see it, (n, SIDE, SIDE)
        self.grids: dict[int, tuple[Tensor, Tensor]] = {}
        for cells in (saliency.FINE // 8, saliency.FINE // 16):
            enlarging = saliency.between(cells)
            blurring = saliency.gaussian(saliency.WIDE, saliency.CELLS) @ enlarging
            self.grids[cells] = (torch.tensor(halves @ enlarging), torch.tensor(halves @ blurring))

    def spreads(self, which: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Mean and deviation of each map of the published network."""
        with torch.no_grad():
            parts = [levels(self.network, self.rgb[part].float() / 255) for part in which.split(128)]
            wholes = [torch.cat(level) for level in zip(*parts, strict=True)]
            return [(whole.mean((0, 2, 3)), whole.std((0, 2, 3))) for whole in wholes]

    def logits(self, model: Model, spreads: list[Any], seen: list[Tensor], which: Tensor, mirrored: Tensor) -> Tensor:
        """(n, SIDE, SIDE); where `mirrored`, the picture was, and so is the result."""
        features = torch.einsum("nfij,f->nij", self.features[which], model.features)
        total = torch.where(mirrored[:, None, None], features.flip(2), features) + model.bias
        total = total + torch.einsum("fij,f->ij", self.places, model.places)
        for maps, weights, (mean, spread) in zip(seen, model.maps, spreads, strict=True):
            maps = (maps - mean[:, None, None]) / spread[:, None, None]
            own, wide = torch.einsum("ncij,kc->knij", maps, weights)
            enlarging, blurring = self.grids[maps.shape[-1]]
            total = total + enlarging @ own @ enlarging.T + blurring @ wide @ blurring.T
        return total

    def shares(self, logits: Tensor, top: float, which: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of the saliency at each position, and the numbers of the slides that belong to `which`."""
        maps = weighted(logits, top)
        slides = [self.slides[int(number)] for number in which]
        chosen = torch.cat(slides)
        at = torch.repeat_interleave(torch.arange(len(which)), torch.tensor([len(one) for one in slides]))
        profile = torch.where(self.axis[chosen][:, None] == 0, maps.sum(1)[at], maps.sum(2)[at])
        cumulated = F.pad(profile.cumsum(1), (1, 0))
        start = torch.linspace(0, 1, POSITIONS)[None] * (1 - self.share[chosen])

        def read(position: Tensor) -> Tensor:
            cell = (position * SIDE).floor().clamp(0, SIDE - 1).long()
            part = position * SIDE - cell
            return cumulated.gather(1, cell) * (1 - part) + cumulated.gather(1, cell + 1) * part

        return read(start + self.share[chosen]) - read(start), chosen

    def loss(self, logits: Tensor, which: Tensor) -> Tensor:
        """What the positions lose against the best one, expected under a softmax of their shares; and the mask."""
        shares, chosen = self.shares(logits, TOP, which)
        lost = 1 - (torch.softmax(shares / SOFTNESS, 1) * self.kept[chosen]).sum(1)
        kinds = self.kinds[chosen.numpy()]
        total = sum(weight * lost[kinds == kind].mean() for kind, weight in WEIGHTS.items() if (kinds == kind).any())
        masked = self.masked[which]
        if masked.any():
            total += PIXELS * F.binary_cross_entropy_with_logits(logits[masked], self.masks[which[masked]])
        if self.taught is not None:
            total += TAUGHT * F.binary_cross_entropy_with_logits(logits, self.taught[which])
        return total

    def start(self, which: Tensor, spreads: list[Any]) -> Model:
        """The published network, and the model that fits it."""
        model = Model(self.network, self.features.shape[1], len(self.places))
        with torch.no_grad():
            parts = [levels(self.network, self.rgb[part].float() / 255) for part in which.split(128)]
            seen = [torch.cat(level) for level in zip(*parts, strict=True)]
        straight = torch.zeros(len(which), dtype=torch.bool)
        optimiser = torch.optim.Adam([*model.above(), model.bias], lr=START_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, START_STEPS)
        for _ in range(START_STEPS):
            optimiser.zero_grad()
            loss = self.loss(self.logits(model, spreads, seen, which, straight), which)
            (loss + START_DECAY * sum((weights**2).sum() for weights in model.above())).backward()
            optimiser.step()
            schedule.step()
        return model

    def tune(self, which: Tensor, spreads: list[Any], seed: int) -> Model:
        """Network and model together: one cycle of Adam, colours jittered, every other picture mirrored."""
        chance = torch.Generator().manual_seed(seed)
        model = self.start(which, spreads)
        groups = [{"params": list(model.network.values())}, {"params": [*model.above(), model.bias]}]
        optimiser = torch.optim.Adam(groups, lr=RATE)
        steps = -(-len(which) // BATCH) * EPOCHS
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, [3 * RATE, 9 * RATE], steps, pct_start=0.15)
        for _ in range(EPOCHS):
            for batch in which[torch.randperm(len(which), generator=chance)].split(BATCH):

                def noise(*shape: int, count: int = len(batch)) -> Tensor:
                    return torch.randn(count, *shape, generator=chance)

                pictures = self.rgb[batch].float() / 255 * (1 + 0.15 * noise(1, 1, 1)) * (1 + 0.05 * noise(3, 1, 1))
                pictures = (pictures + 0.05 * noise(1, 1, 1)).clamp(0, 1)
                mirrored = torch.rand(len(batch), generator=chance) < 0.5
                pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
                optimiser.zero_grad()
                logits = self.logits(model, spreads, levels(model.network, pictures), batch, mirrored)
                logits = torch.where(mirrored[:, None, None], logits.flip(2), logits)
                loss = self.loss(logits, batch) + DECAY * sum((weights**2).sum() for weights in model.above())
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.values(), 1.0)
                optimiser.step()
                schedule.step()
        return model

    def fit(self, which: Tensor) -> tuple[Model, list[Any]]:
        """The mean of the weights of several runs, taught by as many before them, and the spreads of the maps."""
        spreads = self.spreads(which)
        self.taught = None
        first = [self.predicted(self.tune(which, spreads, seed), spreads, which) for seed in SEEDS]
        self.taught = torch.zeros_like(self.masks).index_copy(0, which, torch.sigmoid(sum(first) / len(first)))
        runs = [self.tune(which, spreads, seed) for seed in SEEDS]
        model = runs[0]
        with torch.no_grad():
            for mean, *values in zip(model.values(), *[run.values() for run in runs], strict=True):
                mean.copy_(sum(values) / len(values))
            for values in model.network.values():
                values.copy_(values.half())  # as they ship
        return model, spreads

    def predicted(self, model: Model, spreads: list[Any], which: Tensor) -> Tensor:
        """Logits, the mean of the network's maps of the picture and its mirror image, as in the engine."""
        parts = []
        with torch.no_grad():
            for part in which.split(128):
                pictures = self.rgb[part].float() / 255
                both = zip(levels(model.network, pictures), levels(model.network, pictures.flip(3)), strict=True)
                seen = [(maps + mirror.flip(3)) / 2 for maps, mirror in both]
                parts.append(self.logits(model, spreads, seen, part, torch.zeros(len(part), dtype=torch.bool)))
        return torch.cat(parts)

    def worth_by_kind(self, logits: Tensor, top: float, which: Tensor) -> dict[str, float]:
        """Mean worth of the best positions."""
        shares, chosen = self.shares(logits, top, which)
        worth = self.worth[chosen].gather(1, shares.argmax(1, keepdim=True))[:, 0].numpy()
        kinds = self.kinds[chosen.numpy()]
        return {kind: float(worth[kinds == kind].mean()) for kind in WEIGHTS if (kinds == kind).any()}

    def free(self, logits: Tensor, which: Tensor, top: float) -> tuple[list[Photo], list[Array]]:
        """The photographs among `which` that a person has cropped, and their maps."""
        drawn = [number for number in range(len(which)) if self.photos[int(which[number])].kind == "fcdb"]
        maps = weighted(logits[drawn], top).numpy().astype(float)
        return [self.photos[int(which[number])] for number in drawn], list(maps)

    def exported(self, model: Model, spreads: list[Any]) -> tuple[dict[str, Array], saliency.Weights]:
        """The network in 16 bits, and the model in the units of the maps and features."""
        bias = model.bias.item()
        pairs = []
        for weights, (mean, spread) in zip(model.maps, spreads, strict=True):
            scaled = (weights.detach() / spread).numpy()
            bias -= float((scaled * mean.numpy()).sum())
            pairs.append([(round(float(own), 5), round(float(wide), 5)) for own, wide in scaled.T])
        features = model.features.detach().numpy() / self.feature_scale
        places = model.places.detach().numpy() / self.place_scale
        bias -= float((features * self.feature_shift).sum() + (places * self.place_shift).sum())
        own, wide = (
            [round(float(weight), 5) for weight in part] for part in (features[:FEATURES], features[FEATURES:])
        )
        by_feature = dict(zip(saliency.FEATURES, zip(own, wide, strict=True), strict=True))
        by_place = {name: round(float(weight), 5) for name, weight in zip(saliency.PLACES, places, strict=True)}
        network = {name: values.detach().numpy().astype(np.float16) for name, values in model.network.items()}
        return network, saliency.Weights(round(bias, 4), pairs, by_feature, by_place, {})


def weighted(logits: Tensor, top: float) -> Tensor:
    """Maps (n, SIDE, SIDE), each row times 1 - top x share of the map above it, which then sum to 1."""
    maps = torch.sigmoid(logits)
    rows = maps.sum(2)
    above = (rows.cumsum(1) - rows) / rows.sum(1, keepdim=True)
    maps = maps * (1 - top * above)[:, :, None]
    return maps / maps.sum((1, 2), keepdim=True)


def fit_margins(photos: list[Photo], maps: list[Array]) -> dict[str, list[float]]:
    """The weights of `margins.free_box`: largest mean intersection over union with what people drew."""
    rows = np.stack([margins.features(found, photo.size) for photo, found in zip(photos, maps, strict=True)])
    inputs = torch.tensor(rows).float()
    boxes = torch.tensor(np.array([np.array(photo.drawn) / (photo.size * 2) for photo in photos])).float()
    spread = inputs.std((0, 1)) + (inputs.std((0, 1)) == 0)
    weights = torch.zeros(3, inputs.shape[2])
    weights[:, -1] = 0.06
    weights.requires_grad_(True)
    optimiser = torch.optim.Adam([weights], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 200)
    for _ in range(200):
        optimiser.zero_grad()
        linear = (inputs / spread * weights[[0, 0, 1, 2]]).sum(2)
        left, right, top, bottom = (F.softplus(40 * linear) / 40).T
        x = (torch.minimum(1 - right, boxes[:, 2]) - torch.maximum(left, boxes[:, 0])).clamp(min=0)
        y = (torch.minimum(1 - bottom, boxes[:, 3]) - torch.maximum(top, boxes[:, 1])).clamp(min=0)
        area = (1 - left - right) * (1 - top - bottom)
        theirs = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        loss = (1 - x * y / (area + theirs - x * y)).mean() + 0.3 * (weights[:, :-1] ** 2).sum()
        loss.backward()
        optimiser.step()
        schedule.step()
    fitted = (weights.detach() / spread).numpy()
    names = ("side", "top", "bottom")
    return {side: [round(float(w), 4) for w in row] for side, row in zip(names, fitted, strict=True)}


def measure(trainer: Trainer, fit: Tensor, test: Tensor) -> dict[str, dict[str, float]]:
    """What weights set on `fit` are worth on `test`, by top weight and kind; "auto" is the free box."""
    model, spreads = trainer.fit(fit)
    known, logits = (trainer.predicted(model, spreads, which) for which in (fit, test))
    report = {}
    for top in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
        weights = fit_margins(*trainer.free(known, fit, top))
        photos, maps = trainer.free(logits, test, top)
        boxes = [margins.free_box(found, photo.size, weights) for photo, found in zip(photos, maps, strict=True)]
        auto = float(np.mean([overlap(box, photo.drawn) for box, photo in zip(boxes, photos, strict=True)]))
        report[f"{top}"] = {**trainer.worth_by_kind(logits, top, test), "auto": auto}
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--folds", type=int, default=0)
    args = parser.parse_args()
    published = convert_networks.published_people(args.wheel)
    photos, found = load(args.data)
    network = {name: torch.tensor(values.astype(np.float32)) for name, values in published.items()}
    trainer = Trainer(photos, found, network)
    every = torch.arange(len(photos))
    if args.folds:
        fold = torch.tensor(np.random.default_rng(0).permutation(len(photos)) % args.folds)
        reports = [measure(trainer, every[fold != part], every[fold == part]) for part in range(args.folds)]
        for top in reports[0]:
            worth = {
                kind: [report[top][kind] for report in reports if kind in report[top]] for kind in (*WEIGHTS, "auto")
            }
            print(
                "top weight", top, {kind: round(float(np.mean(of)), 4) for kind, of in worth.items() if of}, flush=True
            )
        return
    model, spreads = trainer.fit(every)
    tuned, weights = trainer.exported(model, spreads)
    drawn = trainer.free(trainer.predicted(model, spreads, every), every, saliency.TOP)
    convert_networks.save(OUT / "people.npz", tuned)
    weights = weights._replace(margins=fit_margins(*drawn))
    (OUT / "weights.json").write_text(json.dumps(weights._asdict(), indent=1) + "\n")


if __name__ == "__main__":
    main()
