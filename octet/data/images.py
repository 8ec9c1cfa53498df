"""Images of a data set as what the network reads: one sequence that calibration, evaluation and all others take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError, Unreadable
from octet.core.parallel import map_ordered
from octet.data.dataset import Dataset, indices_of, open_split
from octet.data.preprocess import Preprocess
from octet.data.subset import balanced, held_out
from octet.data.unreadable import Unread

Input = npt.NDArray[np.float32]  # a network's input, of shape (C, H, W)


class Images(Sequence[Input]):
    """Some images of a data set, pre-processed: images[k] is a network's input, fp32 of shape (C, H, W).

    Read when asked for, by any thread; nothing is kept. images[k] raises Unreadable for a file that cannot be read, and
    OctetError for an image that does not fit the network. Pickled, it takes along where the data lie, not the images.

    Args:
        dataset: The split that they are of.
        preprocess: What happens to an image before the network sees it.
        indices: Which images of the split, int64 of shape (n,).
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, indices: npt.NDArray[np.int64]):
        self.dataset, self.preprocess, self.indices = dataset, preprocess, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, k: int) -> Input:
        if not -len(self) <= k < len(self):
            raise IndexError(k)  # which ends a loop over a sequence
        pixels = self.pixels(k)
        try:
            return self.preprocess(pixels)
        except OctetError as error:
            raise OctetError(f"{self.name(k)}: {error}") from None

    @property
    def labels(self) -> npt.NDArray[np.int64] | None:
        """The labels, int64 of shape (n,); None where the split has none."""
        return self.dataset.labels[self.indices] if self.dataset.labelled else None

    @property
    def names(self) -> list[str]:
        """Where the images are: the same in every run and on every machine."""
        return [self.name(k) for k in range(len(self))]

    def name(self, k: int) -> str:
        """Where the image is: the same in every run and on every machine."""
        return self.dataset.name(int(self.indices[k]))

    def pixels(self, k: int) -> npt.NDArray[np.uint8]:
        """The image itself: uint8 RGB of shape (H, W, 3), or grey of shape (H, W). Raises Unreadable."""
        return self.dataset.image(int(self.indices[k]))

    def pick(self, positions: npt.NDArray[np.int64] | Sequence[int]) -> Images:
        """Those at some positions of this sequence."""
        return Images(self.dataset, self.preprocess, self.indices[np.asarray(positions, np.int64)])

    def readable(self, what: str) -> Images:
        """Those whose files can be read; the others are named on standard error.

        Args:
            what: Who asks, for the messages.

        Raises:
            OctetError: Too many cannot be read.
        """
        unread = Unread(len(self), what)

        def fine(k: int) -> bool:
            try:
                self.pixels(k)
            except Unreadable as problem:
                unread.add(problem)
                return False
            return True

        kept = list(map_ordered(fine, range(len(self)), f"{what}, reading"))
        unread.report()
        return self.pick(np.flatnonzero(kept))


def training_images(folder: str | Path, preprocess: Preprocess, count: int, key: str, what: str) -> Images:
    """The first `count` training images of a data set, balanced over the classes, without those that cannot be read.

    Args:
        folder: The data set's folder.
        preprocess: As for Images.
        count: How many images to take.
        key: The parameter that says how many, for errors.
        what: Who asks, for the messages.
    """
    dataset = _open(folder, "train", preprocess)
    return Images(dataset, preprocess, balanced(dataset.labels, count, key)).readable(what)


def held_out_images(folder: str | Path, preprocess: Preprocess, count: int | None, key: str, what: str) -> Images:
    """The last `count` training images, balanced (None: half of them), without those that cannot be read.

    Apart from those of `training_images` as long as the two together are not more than the split. Arguments as there.
    """
    return split_images(folder, "train", preprocess, count, key).readable(what)


def split_images(folder: str | Path, split: str, preprocess: Preprocess, count: int | None, key: str) -> Images:
    """Images to judge a model by: of the split 'test' the first `count`, of 'train' the last; None: all, or half.

    Those that cannot be read are among them. Arguments as for `training_images`.
    """
    dataset = _open(folder, split, preprocess)
    pick = held_out if split == "train" else balanced
    return Images(dataset, preprocess, pick(dataset.labels, count, key))


def some_training_images(folder: str | Path, preprocess: Preprocess, most: int, what: str) -> Images:
    """Up to `most` training images, fewer where the split has fewer. Arguments as for `training_images`."""
    dataset = _open(folder, "train", preprocess)
    indices = balanced(dataset.labels, min(most, len(dataset)), str(folder))
    return Images(dataset, preprocess, indices).readable(what)


def named_images(folder: str | Path, split: str, preprocess: Preprocess, names: Sequence[str]) -> Images:
    """The images of those names, in their order, of a split that was evaluated.

    Raises:
        OctetError: The split has no image of a name.
    """
    dataset = _open(folder, split, preprocess)
    return Images(dataset, preprocess, np.array(indices_of(dataset, names), np.int64))


def _open(folder: str | Path, split: str, preprocess: Preprocess) -> Dataset:
    return open_split(folder, split, preprocess.classes, preprocess.color_type)
