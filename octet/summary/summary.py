"""summary: what int8 costs and what it gives, from the other stages' figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from octet.core.errors import OctetError
from octet.core.files import read_json, rounded
from octet.core.folder import PRECISIONS, ModelFolder
from octet.evaluate.evaluate import Prediction, read_predictions


def summarize(folder: ModelFolder) -> dict:
    """The summary of a model, as metrics JSON."""
    fp32 = read_json(folder.figures("fp32"), "the stage evaluate makes it")
    int8 = read_json(folder.figures("int8"), "the stage evaluate makes it")
    latency = read_json(folder.latency, "the stage benchmark makes it")
    pairs = read_pairs(folder)
    drop, error = paired_drop(pairs)
    shifts = [abs(a.probabilities[0] - b.probabilities[0]) for a, b in pairs]
    sizes = {precision: folder.ncnn(precision).size_bytes() for precision in PRECISIONS}
    most = max(int(key.removeprefix("threads_")) for key in latency if key.startswith("threads_"))
    found = {
        "n_images": len(pairs),
        "fp32_top1_pct": fp32["top1_pct"],
        "int8_top1_pct": int8["top1_pct"],
        "top1_drop_pt": rounded(drop, 4),
        "top1_drop_se_pt": rounded(error, 4),
        "agreement_pct": rounded(100 * np.mean([a.top[0] == b.top[0] for a, b in pairs]), 4),
        "probability_shift_pct": rounded(100 * np.mean(shifts), 4),
        "fp32_bytes": sizes["fp32"],
        "int8_bytes": sizes["int8"],
        "size_ratio": rounded(sizes["fp32"] / sizes["int8"], 3),
        "threads_all": most,
        "machine": latency["machine"],
    }
    for threads, suffix in ((1, "1_thread"), (most, "all_threads")):
        fps = {precision: latency[f"threads_{threads}"][precision]["fps"] for precision in ("fp32", "int8")}
        found |= {f"{precision}_fps_{suffix}": value for precision, value in fps.items()}
        found[f"speedup_{suffix}"] = rounded(fps["int8"] / fps["fp32"], 3)
    return found


def read_pairs(folder: ModelFolder) -> list[tuple[Prediction, Prediction]]:
    """What fp32 and int8 say of each image."""
    found = [read_predictions(folder.predictions(precision)) for precision in PRECISIONS]
    fp32, int8 = ([(row.image, row.actual) for row in rows] for rows in found)
    if fp32 != int8:
        raise OctetError(f"{folder.metrics}: fp32 and int8 were not evaluated on the same images; run 'dvc repro'")
    return list(zip(*found, strict=True))


def paired_drop(pairs: Sequence[tuple[Prediction, Prediction]]) -> tuple[float, float]:
    """The drop in top-1, in points, and its standard error over the same images (a paired sample: the images that
    both get right or both get wrong add nothing to it).
    """
    lost = np.array([fp32.right - float(int8.right) for fp32, int8 in pairs])
    return 100 * float(lost.mean()), 100 * float(lost.std(ddof=1) / np.sqrt(len(lost)))


def table(summaries: dict[str, dict]) -> str:
    """The summaries as text, one block a model."""
    blocks = []
    for name, s in summaries.items():
        machine = s["machine"]
        fits = [f for f in machine["features"] if f in ("avx_vnni", "avx512_vnni", "asimddp", "i8mm")]
        rows = [
            (name, "fp32", "int8", ""),
            ("top-1", f"{s['fp32_top1_pct']:.2f} %", f"{s['int8_top1_pct']:.2f} %", _drop(s)),
            _speed(s, "1_thread", "1 thread"),
        ]
        if s["threads_all"] > 1:
            rows.append(_speed(s, "all_threads", f"{s['threads_all']} threads"))
        size = f"{s['size_ratio']:.2f} times smaller"
        rows.append(("size", f"{s['fp32_bytes'] / 1e6:.1f} MB", f"{s['int8_bytes'] / 1e6:.1f} MB", size))
        widths = [max(len(row[k]) for row in rows) for k in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in rows]
        lines.insert(1, "-" * max(len(line) for line in lines))
        if "published_top1_pct" in s:
            lines.append(f"mmcls's zoo publishes {s['published_top1_pct']:.2f} % for fp32.")
        lines.append(
            f"{s['n_images']:,} images, int8 says what fp32 says on {s['agreement_pct']:.2f} %. "
            f"{machine['cpu']}, {machine['cores']} cores{', ' + ' '.join(fits) if fits else ''}, ncnn {machine['ncnn']}."
        )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _drop(s: dict) -> str:
    return f"drop {s['top1_drop_pt']:+.2f} ± {s['top1_drop_se_pt']:.2f} points"


def _speed(s: dict, suffix: str, label: str) -> tuple[str, str, str, str]:
    fps = [f"{s[f'{precision}_fps_{suffix}']:.1f}" for precision in ("fp32", "int8")]
    return f"FPS, {label}", *fps, f"{s[f'speedup_{suffix}']:.2f} times as fast"
