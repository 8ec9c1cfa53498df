"""Images of a data set as what the network reads: one sequence that calibration, evaluation and all others take."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from octet.core.errors import OctetError, Unreadable
from octet.core.parallel import map_ordered
from octet.core.params import Model
from octet.data.arrays import Indices, Input, Labels, Pixels
from octet.data.dataset import Dataset, indices_of, open_split
from octet.data.preprocess import Preprocess
from octet.data.source import Source
from octet.data.subset import balanced, front, hold_out
from octet.data.unreadable import Unread


class Images(Sequence[Input]):
    """Some images of a data set, pre-processed: images[k] is a network's input, fp32 of shape (C, H, W).

    Read when asked for, by any thread; nothing is kept. images[k] raises Unreadable for a file that cannot be read, and
    OctetError for an image that does not fit the network; images[a:b] are Images. Pickled, it takes along where the data
    lie, not the images.

    >>> import tempfile
    >>> from octet.data import cifar
    >>> pixels, labels = np.full((5, 3, 32, 32), 130, np.uint8), np.array([0, 1, 0, 1, 0], np.uint8)
    >>> steps = Preprocess("RGB", mean=[128.0] * 3, std=[4.0] * 3, size=[32, 32], classes=["cat", "dog"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cifar.write(folder, (pixels, labels), (pixels, labels), steps.classes)
    ...     images = split_images(folder, "test", steps, 3, "evaluate.limit")
    ...     len(images), images[0].shape, float(images[0].max()), images.labels.tolist(), images.name(2)
    (3, (3, 32, 32), 0.5, [0, 1, 0], 'test_batch.bin:2')

    Args:
        dataset: The split that they are of.
        preprocess: What happens to an image before the network sees it.
        indices: Which images of the split.
    """

    def __init__(self, dataset: Dataset, preprocess: Preprocess, indices: Indices):
        self.dataset, self.preprocess, self.indices = dataset, preprocess, indices

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, k: int) -> Input: ...

    @overload
    def __getitem__(self, k: slice) -> Images: ...

    def __getitem__(self, k: int | slice) -> Input | Images:
        if isinstance(k, slice):
            return Images(self.dataset, self.preprocess, self.indices[k])
        if not -len(self) <= k < len(self):
            raise IndexError(k)  # which ends a loop over a sequence
        pixels = self.pixels(k)
        try:
            return self.preprocess(pixels)
        except OctetError as error:
            raise type(error)(f"{self.name(k)}: {error}") from None

    @property
    def labels(self) -> Labels | None:
        """Their labels; None where the split has none, or the network no classes."""
        return self.dataset.labels[self.indices] if self.dataset.labelled and self.preprocess.classes else None

    @property
    def source(self) -> Source:
        """Where the split comes from."""
        return self.dataset.source

    @property
    def names(self) -> list[str]:
        """Where the images are: the same in every run and on every machine."""
        return [self.name(k) for k in range(len(self))]

    def name(self, k: int) -> str:
        """Where the image is: the same in every run and on every machine."""
        return self.dataset.name(int(self.indices[k]))

    def pixels(self, k: int) -> Pixels:
        """The image itself. Raises Unreadable."""
        return self.dataset.image(int(self.indices[k]))

    def pick(self, places: Indices) -> Images:
        """Those at some places of this sequence."""
        return Images(self.dataset, self.preprocess, self.indices[places])

    def readable(self, what: str) -> Images:
        """Those whose files can be read; the others are named on standard error.

        Args:
            what: Who asks, for the messages.

        Raises:
            OctetError: Too many cannot be read.
        """
        unread = Unread(len(self), what)

        def can_be_read(k: int) -> bool:
            try:
                self[k]  # pre-processed, too: one that is too narrow for it is found now, not amid the work
            except Unreadable as problem:
                unread.add(problem)
                return False
            return True

        readable = list(map_ordered(can_be_read, range(len(self)), f"{what}, reading"))
        unread.report()
        return self.pick(np.flatnonzero(readable))


def training_images(
    folder: str | Path, preprocess: Preprocess, count: int, key: str, what: str, least: int = 1
) -> Images:
    """`count` training images from the front of the split, balanced over the classes, without those that cannot be read.

    Where the split has fewer, all of them, and a note on standard error.

    Args:
        folder: The data set's folder.
        preprocess: As for Images.
        count: How many images to take.
        key: The parameter that says how many, for the messages.
        what: Who asks, for the messages.
        least: The fewest that will do.

    Raises:
        OctetError: There are fewer than `least`, or too many cannot be read.
    """
    dataset = _open(folder, "train", preprocess)
    count = _at_most(count, len(dataset), key, "the training split has")
    images = Images(dataset, preprocess, front(dataset.labels, count, key)).readable(what)
    if len(images) < least:
        raise OctetError(f"{folder}: {len(images)} training images; {what} needs at least {least}. Add images")
    return images


def hold_out_images(
    folder: str | Path, preprocess: Preprocess, count: int | None, key: str, what: str, entry: Model
) -> Images:
    """Training images that calibration does not see: from the end of the split, balanced over the classes.

    Apart from those of `training_images` as long as the two together are not more than the split; a note says where they are.
    Those that cannot be read are left out.

    Args:
        folder: The data set's folder.
        preprocess: As for Images.
        count: How many images; None: half of the split.
        key: The parameter that says how many, for errors.
        what: Who asks, for the messages.
        entry: Says how many images int8 learns from.

    Raises:
        OctetError: There is none, or too many cannot be read.
    """
    return split_images(folder, "train", preprocess, count, key, entry).readable(what)


def split_images(
    folder: str | Path, split: str, preprocess: Preprocess, count: int | None, key: str, entry: Model | None = None
) -> Images:
    """Images to judge a model by, balanced over the classes; those that cannot be read are among them.

    Args:
        folder: The data set's folder.
        split: 'test', of which the first are taken, or 'train', of which the last are.
        preprocess: As for Images.
        count: How many images, fewer where there are fewer, with a note; None: all of the test split, half of the training
            split.
        key: The parameter that says how many, for the messages.
        entry: Says how many training images int8 learns from: a note says where they are among these. None: not asked.

    Raises:
        OctetError: There is none.
    """
    dataset = _open(folder, split, preprocess)
    available = len(dataset) // 2 if split == "train" else len(dataset)
    if not available:
        raise OctetError(f"{folder}: {len(dataset)} images in the {split} split; expected 2 at least. Add images")
    if count is not None:
        words = "half of the training split is" if split == "train" else f"the {split} split has"
        count = _at_most(count, available, key, words)
    if split == "train" and entry:
        _note_overlap(len(dataset), available if count is None else count, entry.learned_from(len(dataset)), key)
    pick = hold_out if split == "train" else balanced
    return Images(dataset, preprocess, pick(dataset.labels, count, key))


def some_training_images(folder: str | Path, preprocess: Preprocess, most: int, what: str) -> Images:
    """Up to `most` training images, fewer where the split has fewer. Arguments as for `training_images`."""
    dataset = _open(folder, "train", preprocess)
    indices = front(dataset.labels, min(most, len(dataset)), str(folder))
    return Images(dataset, preprocess, indices).readable(what)


def named_images(folder: str | Path, split: str, preprocess: Preprocess, names: Sequence[str]) -> Images:
    """The images of those names, in their order, of a split that was evaluated.

    Raises:
        OctetError: The split has no image of a name.
    """
    dataset = _open(folder, split, preprocess)
    return Images(dataset, preprocess, np.array(indices_of(dataset, names), np.int64))


def report_source(what: str, images: Images) -> None:
    """Prints where a split comes from; on standard error, what to know before trusting a figure on it.

    Args:
        what: Which split of which model.
        images: Some of the split.
    """
    print(f"{what}: {images.source}, {len(images.dataset):,} images", flush=True)
    for remark in images.source.remarks:
        print(f"warning: {what}: {remark}", file=sys.stderr, flush=True)


def _at_most(count: int, available: int, key: str, words: str) -> int:
    """How many images are taken where `count` are asked for; of fewer, a note."""
    if count > available:
        print(
            f"note: {key}: {count:,} images asked for, {words} {available:,}; all are taken",
            file=sys.stderr,
            flush=True,
        )
    return min(count, available)


def _note_overlap(split: int, judge: int, learned_from: int, key: str) -> None:
    """Says how many of the images that judge int8 it has learned from: those beyond what the split has for both."""
    if (both := judge + learned_from - split) > 0:
        print(
            f"note: {key}: int8 learns from {both:,} of these {judge:,} hold-out images, too, since the training split has "
            f"{split:,}: it is better on them than on others. Add images, or take fewer of either",
            file=sys.stderr,
            flush=True,
        )


def _open(folder: str | Path, split: str, preprocess: Preprocess) -> Dataset:
    config = preprocess.splits.get(split)
    return open_split(folder, split, preprocess.classes, preprocess.color_type, config)
