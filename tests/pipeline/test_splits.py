"""A split that the model's entry names: checked before any work, tracked by DVC, and told."""

import json
import shutil

import pytest

pytestmark = pytest.mark.pipeline


@pytest.mark.slow
def test_the_entry_names_the_test_split(finished, tmp_path):
    project = finished.copy(tmp_path / "p")
    data = project.folder / "data/mine"
    script = (
        "import cv2; from octet.data.dataset import open_split; from pathlib import Path\n"
        "images = open_split('data/digits32', 'test', [str(k) for k in range(10)])\n"
        "for k in range(60):\n"
        "    file = Path('data/mine', 'train' if k < 40 else 'photos', str(k % 10), f'{k}.png')\n"
        "    file.parent.mkdir(parents=True, exist_ok=True)\n"
        "    cv2.imwrite(str(file), images.image(k)[..., ::-1])\n"
        "lines = (f'{file.parent.name}/{file.name} {file.parent.name}\\n' for file in Path('data/mine/photos').rglob('*.png'))\n"
        "Path('data/mine/photos.txt').write_text(''.join(lines))\n"
    )
    project.python("-c", script)
    wrong = "splits: {test: {folder: photo, annotations: photos.txt}}"
    project.edit("params.yaml", "data: data/digits32", f"data: data/mine\n    {wrong}")
    done = project.python("-m", "octet", "validate", ok=False)
    assert done.returncode == 1
    assert done.stderr == (
        "error: params.yaml: models.tiny.splits.test.folder: data/mine/photo: no such folder; data/mine has photos, photos.txt, "
        "train. Put it there, or name another\n"
    )
    project.edit("params.yaml", "folder: photo,", "folder: photos,")
    one = "{folder: photos, annotations: photos.txt}"
    project.edit("params.yaml", f"splits: {{test: {one}}}", f"splits: {{test: {one}, train: {one}}}")
    assert (
        "warning: tiny: 20 of the 20 images of the test split are in the train split, too: int8 is judged on images"
        in (project.python("-m", "octet", "validate").stderr)
    )
    project.edit("params.yaml", f"splits: {{test: {one}, train: {one}}}", f"splits: {{test: {one}}}")
    told = project.python("-m", "octet", "validate").stdout
    assert "tiny: test split: photos.txt (annotation file of the images in photos), 20 images\n" in told
    assert "tiny: train split: train (class folders in sorted order, 10), 40 images\n" in told

    def ran() -> list[str]:
        return [
            stage for stage in project.repro("evaluate_fp32@tiny") if stage in ("export", "convert", "evaluate_fp32")
        ]

    def figures() -> dict:
        return json.loads((project.folder / "metrics/tiny/fp32.json").read_text())

    before = project.files("models/tiny/fp32.onnx")
    assert ran() == ["export", "convert", "evaluate_fp32"]
    assert project.files("models/tiny/fp32.onnx") == before
    assert figures()["split_source"] == "photos.txt (annotation file of the images in photos)"
    assert figures()["n_images"] == 20
    assert "split" not in project.python("-m", "octet", "validate").stdout, "it is said once"
    assert ran() == []
    lines = (data / "photos.txt").read_text().splitlines(keepends=True)
    (data / "photos.txt").write_text("".join(lines[:15]))
    assert "evaluate_fp32" in ran()
    assert figures()["n_images"] == 15
    first = data / "photos" / lines[0].split()[0]
    shutil.copy(next((data / "train").rglob("*.png")), first)
    assert "evaluate_fp32" in ran()
    first.unlink()
    done = project.python("-m", "dvc", "repro", "evaluate_fp32@tiny", ok=False)
    assert (
        "error: params.yaml: models.tiny.splits.test: data/mine/photos.txt: 1 of the 15 images that it names are not"
        in (done.stderr)
    )
