"""Pickles put together by hand, as no library would write them: instructions of protocol 2, and what they make."""

import pickle

OBJECT, PLAIN = 63, 0  # what numpy's dtypes have as flags


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def name(module: str, what: str) -> bytes:
    return f"c{module}\n{what}\n".encode()


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def list_of(*parts: bytes) -> bytes:
    return b"](" + b"".join(parts) + b"e"


def dictionary(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in values.items()) + b"u"


def raw(value: bytes) -> bytes:
    return name("_codecs", "encode") + tuple_of(text(value.decode("latin1")), text("latin1")) + b"R"


def dtype(code: str, *state: bytes) -> bytes:
    """A dtype, and the rest of the state that it is told: from the subarray on; none: that of a plain one."""
    rest = state or (b"N", b"N", b"N", number(-1), number(-1), number(PLAIN))
    return (
        name("numpy", "dtype")
        + tuple_of(text(code), b"\x89", b"\x88")
        + b"R"
        + tuple_of(number(3), text("<"), *rest)
        + b"b"
    )


def array(of: bytes, shape: bytes, data: bytes) -> bytes:
    result = (
        name("numpy.core.multiarray", "_reconstruct")
        + tuple_of(name("numpy", "ndarray"), tuple_of(number(0)), raw(b"b"))
        + b"R"
    )
    return result + tuple_of(number(1), shape, of, b"\x89", data) + b"b"


def scalar(*arguments: bytes) -> bytes:
    return name("numpy.core.multiarray", "scalar") + tuple_of(*arguments) + b"R"


def whole(value: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + value + pickle.STOP


ADDRESS = raw(b"\x41" * 8)
FIELDS = (
    b"N",
    tuple_of(text("a")),
    dictionary(a=tuple_of(dtype("O8"), number(0))),
    number(8),
    number(1),
    number(PLAIN),
)
# With these numpy's own reader follows a pointer out of the file, or takes gigabytes.
HOSTILE = {
    "an array of objects whose dtype says that it has none": array(dtype("O8"), tuple_of(number(1)), ADDRESS),
    "a structure of objects": array(dtype("V8", *FIELDS), tuple_of(number(1)), ADDRESS),
    "a number whose dtype says that it is an object": scalar(
        dtype("f8", b"N", b"N", b"N", *map(number, (-1, -1, OBJECT)))
    ),
    "an object from an address": scalar(dtype("O8"), ADDRESS),
    "an item of a gigabyte": array(
        dtype("V8", b"N", b"N", b"N", number(1 << 30), number(1), number(PLAIN)), tuple_of(number(1)), ADDRESS
    ),
    "a dtype within itself": name("numpy", "dtype")
    + tuple_of(text("f8"), b"\x89", b"\x88")
    + b"Rq\x05"
    + tuple_of(number(3), text("<"), tuple_of(b"h\x05", number(2)), b"N", b"N", number(-1), number(-1), number(PLAIN))
    + b"b",
    "more bytes than there are": array(dtype("u1"), tuple_of(number(1 << 30), number(1 << 20)), ADDRESS),
    "a huge index into the memo": b"Nr\xff\xff\xff\x7f",
}

# As safetensors 0.8 writes fc.weight [[1.5, -2, 3], [4, 5, 6]], h [1, -0.5] in fp16, b [1, 3.140625] in bf16, n 7, f [true, false]
# and e, of shape [0, 3].
_HEADER = (
    b'{"__metadata__":{"format":"pt"},'
    b'"n":{"dtype":"I64","shape":[],"data_offsets":[0,8]},'
    b'"e":{"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},'
    b'"fc.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},'
    b'"b":{"dtype":"BF16","shape":[2],"data_offsets":[32,36]},'
    b'"h":{"dtype":"F16","shape":[2],"data_offsets":[36,40]},'
    b'"f":{"dtype":"BOOL","shape":[2],"data_offsets":[40,42]}}'
)
SAFETENSORS = (
    (376).to_bytes(8, "little")
    + _HEADER.ljust(376)
    + bytes.fromhex("07000000000000000000c03f000000c000004040000080400000a0400000c040803f4940003c00b80100")
)
