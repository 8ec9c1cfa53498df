"""The zip's C++ example: its text is C++, and what it makes of an image is the pipeline's input, bit for bit.

A header stands in for ncnn's, which pip's package lacks; tests/slow/test_example.py builds the example with ncnn itself.
"""

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from octet.data.geometry import CenterCrop, CropAndResize, Resize
from octet.data.preprocess import Preprocess
from octet.package.examples import cpp
from tests.unit.test_package import content

pytestmark = pytest.mark.unit

# ISO C++11, 2.14.4: digits with a point or an exponent, then a suffix.
LITERAL = re.compile(r"-?((\d*\.\d+|\d+\.)([eE][+-]?\d+)?|\d+[eE][+-]?\d+)[fFlL]?")
NCNN = """
#include <fstream>
#include <vector>
namespace ncnn {
// As ncnn's: each channel begins at a multiple of 16 bytes.
struct Channel {
    float* data;
    template <typename T> operator T*() { return (T*)data; }
};
struct Mat {
    int w, h, d, c;
    size_t cstep;
    std::vector<float> data;
    Mat(int w = 0, int h = 1, int c = 1) : w(w), h(h), d(1), c(c), cstep((size_t(w) * h + 3) / 4 * 4), data(cstep * c, -1e9f) {}
    Channel channel(int q) { return {data.data() + q * cstep}; }
    Mat reshape(int) const { return *this; }
    float operator[](size_t k) const { return data[k]; }
};
struct Extractor {
    int input(const char*, Mat& in) {
        std::ofstream file("input", std::ios::binary);
        for (int q = 0; q < in.c; q++) file.write((const char*)in.channel(q).data, 4 * in.w * in.h);
        return 0;
    }
    int extract(const char*, Mat& out) {
        out = Mat(2);
        out.data[0] = out.data[1] = 0;
        return 0;
    }
};
struct Net {
    struct { bool use_fp16_packed, use_fp16_storage, use_fp16_arithmetic; } opt;
    int load_param(const char*) { return 0; }
    int load_model(const char*) { return 0; }
    Extractor create_extractor() { return {}; }
};
}
"""
ODD = [7, 5]  # of which no channel ends at a multiple of 16 bytes
CUT = [Resize(9, -1, "short", "bilinear", "cv2"), CenterCrop(*ODD)]
CASES = {
    "RGB": ("RGB", [120.1, 110.2, 100.3], [58.1, 57.2, 56.3], ODD, {"geometry": CUT}),
    "grey": ("GREY", [33.3], [78.5], ODD, {"geometry": CUT, "color_type": "grayscale"}),
    "BGR and fp16": ("BGR", [103.5, 116.3, 123.7], [0.01, 57.1, 1e5], ODD, {"geometry": CUT, "to_half": True}),
    "none": ("RGB", [0.0] * 3, [1.0] * 3, [8, 8], {"geometry": [CropAndResize(8, 3, "bilinear", "cv2")]}),
}


def steps_of(case):
    order, mean, std, size, more = CASES[case]
    return Preprocess(order, mean, std, size, ["cat", "dog"], **more)


@pytest.mark.parametrize("engine", ["ncnn", "onnxruntime", "openvino"])
@pytest.mark.parametrize("numbers", [[0.0], [1], [1.0], [0.5], [1e-6], [999999.0], [1e-05], [127.5], [-255.0]])
def test_every_number_is_a_literal(engine, numbers):
    """1f, which is none, did not compile: where 1 / std was whole, as in the preset none."""
    mean, std = numbers * 3, [value or 1.0 for value in numbers * 3]
    text = cpp(content(Preprocess("RGB", mean, std, [8, 8], ["cat", "dog"])), ("in0", "out0"), engine)
    lists = re.findall(r"(?:float|double) (?:mean|factor)\[\] = \{(.*)\};", text)
    assert len(lists) == 2
    for given, written in zip((mean, [1 / np.float64(np.float32(value)) for value in std]), lists, strict=True):
        assert all(LITERAL.fullmatch(number) for number in written.split(", ")), written
        assert [float(number.rstrip("f")) for number in written.split(", ")] == given


@pytest.mark.parametrize("case", CASES)
def test_it_makes_the_pipeline_s_input(case, tmp_path):
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    steps = steps_of(case)
    (tmp_path / "net.h").write_text(NCNN)
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    (tmp_path / "predict.cpp").write_text(cpp(content(steps), ("in0", "out0")))
    build = ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-I.", "predict.cpp", "-o", "predict"]
    subprocess.run(build, cwd=tmp_path, check=True)
    random, shape = np.random.Generator(np.random.PCG64(0)), (3,) if steps.channels == 3 else ()
    for height, width in (
        (9, 9),
        (31, 50),
        (47, 24),
        *([(1, 1)] if case == "none" else []),
    ):  # cut to a part of one pixel
        image = random.integers(0, 256, (height, width, *shape), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "x.ppm")
        subprocess.run(["./predict", "x.ppm"], cwd=tmp_path, check=True, capture_output=True)
        made = np.fromfile(tmp_path / "input", np.float32).reshape(steps.shape)
        assert np.array_equal(made, steps(image))


def test_every_number_of_fp16_s_range_is_rounded_as_numpy_does(tmp_path):
    """Halfway between two, the even one; below 2^-14 the steps are as wide as there."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    text = cpp(content(steps_of("BGR and fp16")), ("in0", "out0"))
    function = re.search(r"^static float half.*?^}$", text, re.MULTILINE | re.DOTALL).group()
    halves = np.arange(0x7BFF, dtype=np.uint16).view(np.float16).astype(np.float32)  # all but the infinite ones
    middles = (halves[:-1] + halves[1:]) / 2
    numbers = np.concatenate(
        [halves, middles, np.nextafter(middles, np.float32(0)), np.nextafter(middles, np.float32(1e9))]
    )
    numbers = np.concatenate([numbers, -numbers])
    numbers.tofile(tmp_path / "numbers")
    (tmp_path / "x.cpp").write_text(
        f"#include <algorithm>\n#include <cmath>\n#include <cstdio>\n{function}\n"
        "int main() { for (float x; fread(&x, 4, 1, stdin);) { x = half(x); fwrite(&x, 4, 1, stdout); } }\n"
    )
    subprocess.run(["g++", "-std=c++11", "x.cpp", "-o", "x"], cwd=tmp_path, check=True)
    with (tmp_path / "numbers").open("rb") as file:
        rounded = np.frombuffer(
            subprocess.run(["./x"], cwd=tmp_path, stdin=file, check=True, capture_output=True).stdout, np.float32
        )
    assert np.array_equal(rounded, numbers.astype(np.float16).astype(np.float32))
