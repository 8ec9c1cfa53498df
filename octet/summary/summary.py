"""summary: what int8 costs and what it gives, from the other stages' figures.

A new figure is a field of Summary, computed in summarize; _block prints it. docs/pipeline.md, « The figures », explains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from octet.core.errors import OctetError
from octet.core.files import decimals, figure, read_dataclass, read_json
from octet.core.folder import PRECISIONS, ModelFolder
from octet.core.machine import is_machine, machine_changes
from octet.core.text import table
from octet.evaluate.accuracy import Accuracy
from octet.evaluate.fidelity import Fidelity, OutputFidelity
from octet.evaluate.pairs import agreement_pct, kl_top5_nats, labelled, paired_drop, probability_shift_pct, read_pairs

_DOT_PRODUCT = ("avx_vnni", "avx512_vnni", "asimddp", "i8mm")  # what makes int8 fast, of a machine's features
_MACHINE = ("cpu", "cores", "features", "ncnn")  # what is told of it

_COMPARISON = (
    "top1_drop_pt",
    "top1_drop_se_pt",
    "agreement_pct",
    "probability_shift_pct",
    "kl_top5_nats",
    "sqnr_db",
    "size_ratio",
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """summary.json: a model's fp32 beside its int8; its fields are the file's keys.

    Of images without labels there is no top-1, and of a network that gives no class scores nothing but its outputs: those keys
    are None here, and missing in the file.

    Args:
        n_images: How many images both were evaluated on.
        outputs: int8's outputs beside fp32's, by their names; None: the network gives class scores.
        sqnr_db: The SQNR of the output where it is least, in dB; None likewise.
        fp32_top1_pct: The share of them for which fp32 predicts the label; int8_top1_pct alike.
        top1_drop_pt: fp32's less int8's, in points.
        top1_drop_se_pt: Its paired standard error, in points; None where there is only one image.
        agreement_pct: The share of the images for which the two predict the same class.
        probability_shift_pct: The mean difference between the probabilities of what each predicts.
        kl_top5_nats: The mean KL divergence of int8's probabilities from fp32's, by the five most likely classes
            (octet.evaluate.pairs.kl_top5_nats); None: the images have labels.
        fp32_bytes: The size of fp32.param and fp32.bin; int8_bytes alike.
        size_ratio: How many times smaller int8 is.
        threads_all: How many threads « all » are.
        machine: The machine that was timed: its cpu, cores, features, system and ncnn.
        fp32_fps_1_thread: Images a second, batch 1; the others alike.
        speedup_1_thread: How many times as fast as fp32 int8 is; speedup_all_threads alike.
        published_top1_pct: What mmcls's zoo publishes for fp32; None: nothing, or not for these images.
    """

    n_images: int
    outputs: dict[str, OutputFidelity] | None = None
    sqnr_db: float | None = None
    fp32_top1_pct: float | None = None
    int8_top1_pct: float | None = None
    top1_drop_pt: float | None = None
    top1_drop_se_pt: float | None = None
    agreement_pct: float | None = None
    probability_shift_pct: float | None = None
    kl_top5_nats: float | None = None
    fp32_bytes: int
    int8_bytes: int
    size_ratio: float
    threads_all: int
    machine: dict[str, Any]
    fp32_fps_1_thread: float
    int8_fps_1_thread: float
    speedup_1_thread: float
    fp32_fps_all_threads: float
    int8_fps_all_threads: float
    speedup_all_threads: float
    published_top1_pct: float | None = None

    @classmethod
    def load(cls, path: Path, made_by: str = "the stage summary makes it") -> Summary:
        """Reads the file.

        Args:
            path: A model's summary.json.
            made_by: What makes it, for the error.

        Raises:
            OctetError: It is missing, or another version's or program's.
        """
        summary = read_dataclass(cls, path, made_by)
        if not is_machine(summary.machine, *_MACHINE):
            raise OctetError(f"{path}: 'machine' is not what the stage benchmark writes; {made_by}")
        if len({summary.fp32_top1_pct is None, summary.int8_top1_pct is None, summary.top1_drop_pt is None}) > 1:
            raise OctetError(
                f"{path}: expected all of fp32_top1_pct, int8_top1_pct and top1_drop_pt, or none; {made_by}"
            )
        if (summary.agreement_pct is None or summary.probability_shift_pct is None) == (not summary.outputs):
            raise OctetError(f"{path}: expected 'agreement_pct' and 'probability_shift_pct', or 'outputs'; {made_by}")
        return summary

    def to_json(self) -> dict[str, Any]:
        """The file's content."""
        optional = {"published_top1_pct", "kl_top5_nats", "outputs", "sqnr_db"}
        if self.top1_drop_pt is None:
            optional |= {"fp32_top1_pct", "int8_top1_pct", "top1_drop_pt", "top1_drop_se_pt"}
        if self.outputs:
            optional |= {"agreement_pct", "probability_shift_pct"}
        return {key: value for key, value in asdict(self).items() if value is not None or key not in optional}

    @property
    def disagreement_pt(self) -> float:
        """The share of the images for which the two predict different classes, in points; of other outputs 0."""
        return 0.0 if self.agreement_pct is None else decimals(100 - self.agreement_pct, 4)

    @property
    def loss_pt(self) -> float:
        """What max_drop_pt limits, in points: the drop in top-1, and without labels the disagreement."""
        return self.disagreement_pt if self.top1_drop_pt is None else self.top1_drop_pt

    def loss(self) -> str:
        """The same in words, after « int8 »."""
        if self.sqnr_db is not None:
            return f"has an SQNR of {self.sqnr_db:.1f} dB{' in its worst output' * (len(self.outputs or {}) > 1)}"
        if self.top1_drop_pt is None:
            return f"disagrees with fp32 on {self.disagreement_pt:.2f} % of images without labels"
        return f"loses {self.top1_drop_pt:+.2f} points of top-1"

    def comparison(self) -> dict[str, Any]:
        """The content of int8_vs_fp32.json: what differs only where the models do, and never from run to run."""
        figures = {key: value for key in _COMPARISON if (value := getattr(self, key)) is not None}
        outputs = {
            name: {"sqnr_db": of.sqnr_db, "cosine": of.cosine, "cosine_min": of.cosine_min}
            for name, of in (self.outputs or {}).items()
        }
        return figures | ({"outputs": outputs} if outputs else {})

    def drop(self) -> str:
        """The drop in words, as « +0.08 ± 0.04 points »; without labels, nothing."""
        if self.top1_drop_pt is None:
            return ""
        error = "" if self.top1_drop_se_pt is None else f" ± {self.top1_drop_se_pt:.2f}"
        return f"{self.top1_drop_pt:+.2f}{error} points"


def summarize(folder: ModelFolder, has_classes: bool = True) -> Summary:
    """Sets a model's int8 beside its fp32, by what evaluate and benchmark measured.

    >>> import tempfile
    >>> from octet.core.files import write_json, write_text
    >>> from octet.evaluate.predictions import Prediction, predictions_csv
    >>> machine = {"cpu": "x", "cores": 2, "features": [], "ncnn": "1"}
    >>> speeds = {"fp32": {"fps": 50.0}, "int8": {"fps": 125.0}}
    >>> with tempfile.TemporaryDirectory() as root:
    ...     folder = ModelFolder("tiny", Path(root))
    ...     for precision, answer, top1_pct in (("fp32", "cat", 100.0), ("int8", "dog", 0.0)):
    ...         row = Prediction("1.png", "cat", [answer], [1.0])
    ...         write_text(folder.predictions(precision), predictions_csv([row]))
    ...         write_json(folder.figures(precision), asdict(Accuracy(1, top1_pct, 100.0, 0.0, 0.0, 0.0)))
    ...         for path in folder.ncnn(precision):
    ...             write_text(path, "as large as the other")
    ...     write_json(folder.latency, {"machine": machine, "threads_1": speeds})
    ...     summary = summarize(folder)
    >>> summary.drop(), summary.agreement_pct, summary.speedup_1_thread, summary.size_ratio
    ('+100.00 points', 0.0, 2.5, 1.0)

    The standard error is the paired one: octet.evaluate.pairs.paired_drop.

    Args:
        folder: The model's, with the files of evaluate_fp32, evaluate_int8 and benchmark, and the two models.
        has_classes: Does the network give class scores?

    Returns:
        The figures of summary.json, but for what mmcls's zoo publishes.

    Raises:
        OctetError: One of their files is missing or damaged, or the two precisions were not evaluated on the same images.
    """
    judged = _of_classes(folder) if has_classes else _of_outputs(folder)
    size = {precision: folder.ncnn(precision).size_bytes() for precision in PRECISIONS}
    machine, fps = latency(folder.latency)
    most = max(fps)
    return Summary(
        **judged,
        fp32_bytes=size["fp32"],
        int8_bytes=size["int8"],
        size_ratio=decimals(size["fp32"] / size["int8"], 3),
        threads_all=most,
        machine=machine,
        fp32_fps_1_thread=fps[1]["fp32"],
        int8_fps_1_thread=fps[1]["int8"],
        speedup_1_thread=decimals(fps[1]["int8"] / fps[1]["fp32"], 3),
        fp32_fps_all_threads=fps[most]["fp32"],
        int8_fps_all_threads=fps[most]["int8"],
        speedup_all_threads=decimals(fps[most]["int8"] / fps[most]["fp32"], 3),
    )


def _of_outputs(folder: ModelFolder) -> dict[str, Any]:
    """What of the summary is of the outputs of a network that gives no class scores."""
    fp32, int8 = (Fidelity.load(folder.figures(precision), precision == "int8") for precision in PRECISIONS)
    if fp32.n_images != int8.n_images or fp32.outputs.keys() != int8.outputs.keys():
        raise OctetError(f"{folder.metrics}: fp32 and int8 were not evaluated on the same images; run 'dvc repro'")
    least = min(output.sqnr_db or 0.0 for output in int8.outputs.values())
    return {"n_images": int8.n_images, "outputs": int8.outputs, "sqnr_db": least}


def _of_classes(folder: ModelFolder) -> dict[str, Any]:
    """What of the summary is of what the two predict."""
    fp32, int8 = (Accuracy.load(folder.figures(precision)) for precision in PRECISIONS)
    pairs = read_pairs(folder)
    if (fp32.top1_pct is not None, int8.top1_pct is not None) != (labelled(pairs),) * 2:
        raise OctetError(f"{folder.metrics}: some figures are of images with labels, some without; run 'dvc repro'")
    drop, error = paired_drop(pairs) if labelled(pairs) else (None, None)
    return {
        "n_images": len(pairs),
        "fp32_top1_pct": fp32.top1_pct,
        "int8_top1_pct": int8.top1_pct,
        "top1_drop_pt": None if drop is None else decimals(drop, 4),
        "top1_drop_se_pt": None if error is None else decimals(error, 4),
        "agreement_pct": decimals(agreement_pct(pairs), 4),
        "probability_shift_pct": decimals(probability_shift_pct(pairs), 4),
        "kl_top5_nats": figure(kl_top5_nats(pairs)) if drop is None else None,
    }


def summary_table(summaries: Mapping[str, Summary], here: Mapping[str, object] | None = None) -> str:
    """What `make quantize` prints.

    Args:
        summaries: By the models' names.
        here: This machine, as octet.ncnn.machine has it: speeds that were measured on another one are flagged.

    Returns:
        One block a model, with an empty line between two.
    """
    return "\n\n".join(_block(name, summary, here) for name, summary in summaries.items())


def _block(name: str, s: Summary, here: Mapping[str, object] | None) -> str:
    rows = [
        *_judged(s),
        _speed("1 thread", s.fp32_fps_1_thread, s.int8_fps_1_thread, s.speedup_1_thread),
    ]
    if s.threads_all > 1:
        threads = f"{s.threads_all} threads"
        rows.append(_speed(threads, s.fp32_fps_all_threads, s.int8_fps_all_threads, s.speedup_all_threads))
    megabytes = [f"{size / 1e6:.1f} MB" for size in (s.fp32_bytes, s.int8_bytes)]
    rows.append(["size", *megabytes, f"{s.size_ratio:.2f} times smaller"])
    lines = [table(rows, headers=[name, "fp32", "int8", ""], align="lrrl")]
    if s.published_top1_pct is not None:
        lines.append(f"mmcls's zoo publishes {s.published_top1_pct:.2f} % for fp32.")
    told = f"int8 agrees with fp32 on {s.agreement_pct or 0:.2f} %"
    if s.outputs:
        told = "the network gives no class scores: SQNR and cosine of its outputs are int8's beside fp32's"
    if s.kl_top5_nats is not None:
        told = f"they have no labels, so no top-1. KL divergence of int8 from fp32: {s.kl_top5_nats:.2g} nats"
    lines.append(f"{s.n_images:,} image{'s' * (s.n_images > 1)}; {told}. {_machine(s.machine)}")
    if here is not None and (changes := machine_changes(s.machine, here)):
        lines.append(f"The speeds are of another machine than this one: {changes}.")
    return "\n".join(lines)


def _judged(s: Summary) -> list[list[str]]:
    """The rows that tell what int8 loses."""
    if s.outputs:
        return [
            [name, "", f"{of.sqnr_db:.1f} dB", f"cosine {of.cosine:.5f}, at least {of.cosine_min:.5f}"]
            for name, of in s.outputs.items()
        ]
    if s.top1_drop_pt is not None:
        return [["top-1", f"{s.fp32_top1_pct:.2f} %", f"{s.int8_top1_pct:.2f} %", f"drop {s.drop()}"]]
    return [["agreement", "", f"{s.agreement_pct:.2f} %", f"differ on {s.disagreement_pt:.2f} % of the images"]]


def _speed(threads: str, fp32_fps: float, int8_fps: float, speedup: float) -> list[str]:
    return [f"FPS, {threads}", f"{fp32_fps:.1f}", f"{int8_fps:.1f}", f"{speedup:.2f} times as fast"]


def _machine(machine: dict[str, Any]) -> str:
    fast = " ".join(name for name in machine["features"] if name in _DOT_PRODUCT)
    return f"{machine['cpu']}, {machine['cores']} cores, {fast + ', ' if fast else ''}ncnn {machine['ncnn']}."


def latency(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, float]]]:
    """The machine that was timed, and images a second by threads and then by precision, or by engine beside ncnn.

    Raises:
        OctetError: The file is missing or damaged.
    """
    content = read_json(path, "the stage benchmark makes it")
    try:
        threads = {int(key.removeprefix("threads_")): key for key in content if key.startswith("threads_")}
        fps = {
            count: {p: content[key][p]["fps"] for p in (*PRECISIONS, *content[key])} for count, key in threads.items()
        }
        every = [value for of in fps.values() for value in of.values()]
        if (
            1 in fps
            and is_machine(content["machine"], *_MACHINE)
            and all(type(v) in (int, float) and v > 0 for v in every)
        ):
            return content["machine"], fps
    except (AttributeError, KeyError, TypeError, ValueError):
        pass
    raise OctetError(f"{path}: expected the keys machine and threads_1; run the stage benchmark again")
