"""What fp32 and int8 predict for the same images, side by side, and how much top-1 the second loses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from octet.core.errors import OctetError
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.logits import kl_divergences_expected
from octet.evaluate.predictions import Prediction, read_predictions

Pair = tuple[Prediction, Prediction]  # fp32's and int8's for one image
Pairs = Sequence[Pair]
_SMALLEST = 5e-7  # a probability that the file shows as 0.000000 is at most this
_EXACT = 1e-4  # from here on its six decimals are exact enough where small probabilities count for more


def read_pairs(folder: ModelFolder) -> list[Pair]:
    """What ncnn's fp32 and int8 predict for each image of the split, in its order.

    Raises:
        OctetError: A file of predictions is missing or damaged, or the two are not of the same images.
    """
    fp32, int8 = (read_predictions(folder.predictions(precision)) for precision in PRECISIONS)
    if [(row.image, row.actual) for row in fp32] != [(row.image, row.actual) for row in int8]:
        raise OctetError(f"{folder.metrics}: fp32 and int8 were not evaluated on the same images; run 'dvc repro'")
    return list(zip(fp32, int8, strict=True))


def paired_drop(pairs: Pairs) -> tuple[float, float | None]:
    """The drop in top-1 and its standard error over the same images, both in points.

    >>> cat, dog = Prediction("1", "cat", ["cat"], [1.0]), Prediction("1", "cat", ["dog"], [1.0])
    >>> paired_drop([(cat, cat), (cat, dog), (cat, cat), (cat, cat)])
    (25.0, 25.0)

    A paired sample, as in McNemar's test (Psychometrika, 1947): the images that both get right or both get wrong add nothing
    to the drop. One image alone has no standard error: None.

    Args:
        pairs: What fp32 and int8 predict for each image.
    """
    lost = np.array([fp32.right - float(int8.right) for fp32, int8 in pairs])
    error = 100 * float(lost.std(ddof=1) / np.sqrt(len(lost))) if len(lost) > 1 else None
    return 100 * float(lost.mean()), error


def labelled(pairs: Pairs) -> bool:
    """Have the images labels? All have, or none; of no images, none."""
    return bool(pairs) and all(fp32.labelled for fp32, _ in pairs)


def agreement_pct(pairs: Pairs) -> float:
    """On how many of the images the two predict the same class, in percent."""
    return 100 * float(np.mean([fp32.top[0] == int8.top[0] for fp32, int8 in pairs]))


def probability_shift_pct(pairs: Pairs) -> float:
    """The mean difference between the probabilities of what each predicts, in percent."""
    return 100 * float(np.mean([abs(fp32.probabilities[0] - int8.probabilities[0]) for fp32, int8 in pairs]))


def kl_top5_nats(pairs: Pairs) -> float:
    """The mean KL divergence of int8's probabilities from fp32's, of what the predictions tell: a lower bound, in nats.

    The classes that are among the five most likely of both count, and all others as one; so of five classes or fewer it is the
    divergence itself.

    >>> fp32, int8 = (Prediction("1", "", ["cat", "dog"], [share, 1 - share]) for share in (0.5, 0.75))
    >>> round(kl_top5_nats([(fp32, int8)]), 4)
    0.1438
    """
    return float(np.mean([_kl_top5_nats(*pair) for pair in pairs]))


def kl_top5_expected_nats(pairs: Pairs) -> npt.NDArray[np.float64]:
    """The same of each image, of shape (n,), as is to be expected on new images: see kl_divergences_expected.

    Args:
        pairs: What fp32 and int8 predict for images that the network has learned.
    """
    expected = []
    for pair in pairs:
        shares = _common_shares(*pair)
        logs = np.log(shares[:, (shares >= _EXACT).any(axis=0)].clip(_EXACT))
        expected += kl_divergences_expected(logs[:1], logs[1:]).tolist()
    return np.array(expected)


def _kl_top5_nats(fp32: Prediction, int8: Prediction) -> float:
    shares = _common_shares(fp32, int8)
    return float((shares[0] * np.log(shares[0] / shares[1])).sum())


def _common_shares(fp32: Prediction, int8: Prediction) -> npt.NDArray[np.float64]:
    """The probabilities that both tell, and of all others together behind them: of shape (2, classes + 1)."""
    of_both = [dict(zip(row.top, row.probabilities, strict=True)) for row in (fp32, int8)]
    common = [name for name in fp32.top if name in of_both[1]]
    shares = np.array([[of[name] for name in common] for of in of_both])
    shares = np.c_[shares, 1 - shares.sum(axis=1)].clip(_SMALLEST)
    rows: npt.NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return rows
