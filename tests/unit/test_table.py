"""ncnn's calibration table: read as ncnn reads it, and an error where ncnn would drop something."""

import numpy as np
import pytest

from octet.core.errors import OctetError
from octet.graph.layers import quantizable
from octet.graph.scales import check_table
from octet.ncnn.table import Table, load, loads, save
from tests import nets

pytestmark = pytest.mark.unit

GOOD = "conv_1_param_0 1.5 2.25 \nconv_1 25.400000 \n"


def test_reads_what_ncnn2table_writes():
    table = loads(GOOD + "# a comment\n\n")
    assert table.weights["conv_1"].tolist() == [1.5, 2.25]
    assert table.inputs["conv_1"] == np.float32(25.4)


def test_every_scale_reads_back_the_same(tmp_path):
    random = np.random.Generator(np.random.PCG64(0))
    scales = np.exp(random.normal(0, 8, 500)).astype(np.float32)
    scales[:2] = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    save(Table({"a": scales}, {"a": scales[0]}), tmp_path / "t")
    again = load(tmp_path / "t")
    assert np.array_equal(again.weights["a"], scales)
    assert again.inputs["a"] == scales[0]
    assert "e" not in (tmp_path / "t").read_text()  # C's %f reads exponents, people do not


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n" + GOOD, "line 1 is blank and entries follow"),
        (GOOD.replace("\n", "\n\n", 1), "line 2 is blank"),
        (GOOD.replace("2.25", "nan"), "a scale is nan"),
        (GOOD.replace("2.25", "inf"), "a scale is inf"),
        (GOOD.replace("2.25", "1e39"), "a scale is 1e39"),
        (GOOD.replace("2.25", "0"), "a scale is 0"),
        (GOOD.replace("2.25", "1e-50"), "a scale is 1e-50"),
        (GOOD + "conv_2_param_ 3\n", "expected conv_2_param_0"),
        (GOOD.replace("25.400000", "-1"), "a scale is -1"),
        (GOOD.replace("2.25", "2,25"), "'2,25' is not a number"),
        (GOOD + "conv_1 3\n", "a second entry 'conv_1'"),
        (GOOD + "conv_2\n", "'conv_2': has no scale"),
        (GOOD + "conv_2 1 2\n", "'conv_2' has 2 scales"),
        (GOOD + "conv_2_param_1 1 2\n", "expected conv_2_param_0"),
    ],
)
def test_bad_tables(text, message):
    with pytest.raises(OctetError, match=f"int8.table: (?=line \\d).*{message}"):
        loads(text, "int8.table")


def complete():
    layers = quantizable(nets.small().layers)
    table = Table()
    for layer in layers:
        table.weights[layer.name] = np.ones(layer.int(0), np.float32)
        table.inputs[layer.name] = np.float32(1)
    return layers, table


def test_fits():
    layers, table = complete()
    check_table(table, layers, "t")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.inputs.pop("conv_2"), "no entry 'conv_2': layer conv_2 has no input scale"),
        (lambda t: t.weights.pop("conv_2"), "no entry 'conv_2_param_0'"),
        (lambda t: t.inputs.update(conv_9=1), "'conv_9' is no layer.*Did you mean 'conv_"),
        (lambda t: t.weights.update(conv_1=np.ones(7)), "'conv_1_param_0' has 7 scales, layer conv_1 needs 8"),
    ],
)
def test_does_not_fit(change, message):
    layers, table = complete()
    change(table)
    with pytest.raises(OctetError, match=message):
        check_table(table, layers, "t")


def test_a_kept_layer_needs_no_entry():
    layers, table = complete()
    del table.inputs["fc"], table.weights["fc"]
    check_table(table, layers, "t", frozenset({"fc"}))
    with pytest.raises(OctetError, match="no entry 'fc'"):
        check_table(table, layers, "t")
