"""Pickles read without running them: plain values as pickle reads them, and for any bytes a value or BadPickle, soon."""

import collections
import pickle
import time
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from octet.core.pickle_reader import MOST_STEPS, BadPickle, Global, Opaque
from octet.core.pickled_arrays import CONSTRUCTORS, Array
from octet.core.pickles import loads
from tests.hand_made import HOSTILE, list_of, text, whole

pytestmark = pytest.mark.unit

KEYS = (
    st.text() | st.binary() | st.booleans() | st.none() | st.integers(1 - 2**31, 2**31 - 1) | st.floats(allow_nan=False)
)
LEAVES = KEYS | st.integers()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.lists(inner).map(tuple),
    max_leaves=20,
)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def read(data: bytes) -> object:
    return loads(data, CONSTRUCTORS).value


@given(VALUES, PROTOCOLS)
def test_plain_values_are_those_that_were_written(value, protocol):
    result = loads(pickle.dumps(value, protocol), CONSTRUCTORS)
    assert result.value == value
    assert result.opaque == ()
    assert repr(result.value) == repr(value), "True is not 1"


@given(
    arrays.arrays(
        st.one_of(arrays.integer_dtypes(endianness="?"), arrays.unsigned_integer_dtypes(endianness="?"))
        | st.one_of(arrays.floating_dtypes(sizes=(16, 32, 64), endianness="?"), arrays.boolean_dtypes()),
        arrays.array_shapes(min_dims=0, min_side=0),
    ),
    PROTOCOLS,
    st.booleans(),
)
def test_numpy_s_arrays_and_numbers(array, protocol, fortran):
    array = np.asfortranarray(array) if fortran and array.ndim else array
    content = {"array": array, "number": array.ravel()[0] if array.size else None}
    result = read(pickle.dumps(content, protocol))
    assert result["array"].values.dtype == array.dtype
    assert result["array"].values.tobytes() == array.tobytes()
    assert result["array"].values.shape == array.shape
    assert repr(result["number"]) == repr(content["number"] if content["number"] is None else content["number"].item())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_other_types_of_python_s(protocol):
    shared = [1]
    content = {
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "set": {7},
        "frozen": frozenset([7]),
        "bytearray": bytearray(b"\0\xff"),
        "empty": b"",
        "shared": (shared, shared),
    }
    result = read(pickle.dumps(content, protocol))
    assert result["shared"][0] is result["shared"][1]
    assert result == {
        "ordered": {"a": 1},
        "default": {"a": [1]},
        "set": [7],
        "frozen": [7],
        "bytearray": b"\0\xff",
        "empty": b"",
        "shared": ([1], [1]),
    }


class Evil:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"), {"state": 1}, iter([1]), iter([("key", 1)]))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_called_is_named_and_not_run(tmp_path, protocol):
    content = {"evil": Evil(tmp_path / "ran"), "class": Evil, "object": object(), "rest": [1]}
    result = loads(pickle.dumps(content, protocol), CONSTRUCTORS)
    assert not (tmp_path / "ran").exists()
    assert isinstance(result.value["evil"], Opaque)
    assert result.value["evil"].what.endswith("io.open") or result.value["evil"].what == "__builtin__.open"
    assert result.value["class"] == Global(__name__, "Evil")
    assert result.value["rest"] == [1]
    assert len(result.opaque) == 2


def test_an_old_class_and_its_state():
    """Instructions of protocols 0 and 1 that call: INST and OBJ; and a key that is an object of an unknown class."""
    result = loads(b"(S'a'\niposix\nsystem\n}S'x'\nI1\nsb.", {})
    assert result.value.what == "posix.system"
    assert loads(b"(cposix\nsystem\nS'a'\no.", {}).opaque == ("posix.system",)
    assert read(pickle.dumps({(1, 2): 3, 2**70: 4}))  # whose keys are opaque
    assert [type(key) for key in read(pickle.dumps({(1, 2): 3, 2**70: 4}))] == [Opaque, Opaque]


@pytest.mark.parametrize("what", HOSTILE)
def test_what_would_make_numpy_follow_a_pointer(what):
    tracemalloc.start()
    try:
        result = read(whole(list_of(HOSTILE[what])))
        assert all(
            value is None or isinstance(value, Array | Opaque) or type(value).__name__ == "DType" for value in result
        )
        assert all(value.values is None for value in result if isinstance(value, Array))
    except BadPickle:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20


TOO_MUCH = {
    "steps": b"N" * (MOST_STEPS + 1),
    "copies of one text": text("\xff" * 100_000) + b"q\x010" + b"c_codecs\nencode\n(h\x01X\x06\0\0\0latin1tR0" * 1000,
    "pairs of one list": b"](" + b"]" * 1000 + b"eq\x010" + b"ccollections\nOrderedDict\n(h\x01tR0" * 2000,
    "long name": b"c" + b"x" * 1000 + b"\ny\n",
    "depth without an end": b"]" * 1000 + b"(" * 1000,
    "unknown instruction": b"\x82\x01",
    "outside": b"NQ",
    "newer protocol": b"\x80\xff",
    "no mark": b"t",
    "no key": b"}(Nu",
    "not in the memo": b"h\x05",
    "no stack": b"0",
    "append to nothing": b"NNa",
    "call of no name": b"N)R",
    "4,301 digits": b"L" + b"1" * 4301 + b"L\n",
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_too_much_and_damaged(what):
    start = time.process_time()
    with pytest.raises(BadPickle) as caught:
        read(TOO_MUCH[what] + b".")
    assert len(str(caught.value)) < 200
    assert time.process_time() - start < 5, "a guard against steps that multiply; it takes under a second"


def test_depth_and_colliding_keys_take_no_more_than_others():
    result = read(b"]" + b"\x85" * 300_000 + b".")
    assert isinstance(result, tuple)
    del result
    keys = b"".join(
        b"\x8a\x0a" + (k * (2**61 - 1)).to_bytes(10, "little", signed=True) + b"N" for k in range(1, 30_000)
    )
    assert len(read(b"}(" + keys + b"u.")) == 29_999


@given(st.binary(max_size=200))
@settings(max_examples=500)
def test_any_bytes_give_a_value_or_bad_pickle(data):
    with suppress(BadPickle):
        loads(data, CONSTRUCTORS)


GOOD = [
    pickle.dumps({"data": np.arange(6, dtype=np.uint8).reshape(2, 3), "labels": [1, 2], "n": np.float32(1)}, protocol)
    for protocol in (0, 2, 4, 5)
] + [whole(value) for value in HOSTILE.values()]


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4),
    st.integers(0, 500),
)
@settings(max_examples=500)
def test_changed_bytes_give_a_value_or_bad_pickle(data, changes, end):
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(data)] = value
    with suppress(BadPickle):
        loads(changed[: end or None], CONSTRUCTORS)


def test_a_pickle_behind_another():
    data = pickle.dumps([1]) + pickle.dumps("two") + b"rest"
    first = loads(data, {})
    second = loads(data, {}, start=first.end)
    assert (first.value, second.value, data[second.end :]) == ([1], "two", b"rest")


def test_what_lies_outside_is_asked_for_by_its_id():
    result = loads(b"(Pone\nX\x03\0\0\0twoQt.", {}, lambda key: f"<{key}>")
    assert result.value == ("<one>", "<two>")
