"""What each instruction of a pickle does to the reader: one line for most of them. pickletools describes them."""

from __future__ import annotations

import codecs
import pickle
import struct
from collections.abc import Callable

from octet.core.pickle_reader import BadPickle, Global, Instruction, Reader, Stateful, pairs

INSTRUCTIONS: dict[int, Instruction] = {}  # by the byte that stands for it; all but STOP


def _on(*codes: bytes) -> Callable[[Instruction], Instruction]:
    """Makes a function what the instructions do."""

    def register(handler: Instruction) -> Instruction:
        INSTRUCTIONS.update({code[0]: handler for code in codes})
        return handler

    return register


def _pushes(code: bytes, value: Callable[[Reader], object]) -> None:
    """Makes the instruction one that puts a value onto the stack."""

    def push(reader: Reader) -> None:
        pushed = value(reader)  # which may change which stack it is
        reader.stack.append(pushed)

    INSTRUCTIONS[code[0]] = push


def _text(size: int, encoding: str) -> Callable[[Reader], object]:
    return lambda reader: str(reader.take(reader.number(size)), encoding, "surrogatepass")


def _bytes(size: int) -> Callable[[Reader], object]:
    return lambda reader: bytes(reader.take(reader.number(size)))


def _long(size: int) -> Callable[[Reader], object]:
    return lambda reader: int.from_bytes(reader.take(reader.number(size)), "little", signed=True)


def _quoted(reader: Reader) -> object:
    """Python 2's text in protocol 0: a literal in quotes, with escapes."""
    text = reader.line().strip()
    if len(text) < 2 or text[:1] != text[-1:] or text[:1] not in (b"'", b'"'):
        raise BadPickle("it has a text without its quotes")
    return codecs.escape_decode(text[1:-1])[0].decode("latin1")


def _name(reader: Reader) -> Global:
    module = str(reader.line(), "utf-8")
    return reader.name(module, str(reader.line(), "utf-8"))


def _decimal(reader: Reader) -> object:
    text = reader.line()
    return text == b"01" if text in (b"00", b"01") else int(text)


_pushes(pickle.NONE, lambda _: None)
_pushes(pickle.NEWTRUE, lambda _: True)
_pushes(pickle.NEWFALSE, lambda _: False)
_pushes(pickle.INT, _decimal)
_pushes(pickle.LONG, lambda reader: int(reader.line().removesuffix(b"L")))
_pushes(pickle.FLOAT, lambda reader: float(reader.line()))
_pushes(pickle.BININT, lambda reader: reader.number(4, signed=True))
_pushes(pickle.BININT1, lambda reader: reader.number(1))
_pushes(pickle.BININT2, lambda reader: reader.number(2))
_pushes(pickle.LONG1, _long(1))
_pushes(pickle.LONG4, _long(4))
_pushes(pickle.BINFLOAT, lambda reader: struct.unpack(">d", reader.take(8))[0])
_pushes(pickle.STRING, _quoted)
_pushes(pickle.BINSTRING, _text(4, "latin1"))
_pushes(pickle.SHORT_BINSTRING, _text(1, "latin1"))
_pushes(pickle.UNICODE, lambda reader: reader.line().decode("raw_unicode_escape"))
_pushes(pickle.BINUNICODE, _text(4, "utf-8"))
_pushes(pickle.BINUNICODE8, _text(8, "utf-8"))
_pushes(pickle.SHORT_BINUNICODE, _text(1, "utf-8"))
_pushes(pickle.BINBYTES, _bytes(4))
_pushes(pickle.BINBYTES8, _bytes(8))
_pushes(pickle.SHORT_BINBYTES, _bytes(1))
_pushes(pickle.BYTEARRAY8, _bytes(8))
_pushes(pickle.EMPTY_TUPLE, lambda _: ())
_pushes(pickle.EMPTY_LIST, lambda _: [])
_pushes(pickle.EMPTY_DICT, lambda _: {})
_pushes(pickle.EMPTY_SET, lambda _: [])  # a set is read as the list of what is in it
_pushes(pickle.TUPLE, lambda reader: tuple(reader.since_mark()))
_pushes(pickle.LIST, lambda reader: reader.since_mark())
_pushes(pickle.FROZENSET, lambda reader: reader.since_mark())
_pushes(pickle.DUP, lambda reader: reader.stack[-1])
_pushes(pickle.GET, lambda reader: reader.memo[int(reader.line())])
_pushes(pickle.BINGET, lambda reader: reader.memo[reader.number(1)])
_pushes(pickle.LONG_BINGET, lambda reader: reader.memo[reader.number(4)])
_pushes(pickle.GLOBAL, _name)


@_on(pickle.PROTO)
def _protocol(reader: Reader) -> None:
    if reader.number(1) > pickle.HIGHEST_PROTOCOL:
        raise BadPickle("its protocol is newer than any that is known")


@_on(pickle.FRAME)
def _frame(reader: Reader) -> None:
    reader.take(8)  # how many bytes could be read at once


@_on(pickle.MARK)
def _mark(reader: Reader) -> None:
    reader.marks.append(reader.stack)
    reader.stack = []


@_on(pickle.POP)
def _pop(reader: Reader) -> None:
    if reader.stack:
        reader.stack.pop()
    else:
        reader.since_mark()


@_on(pickle.POP_MARK)
def _pop_mark(reader: Reader) -> None:
    reader.since_mark()


@_on(pickle.TUPLE1)
def _tuple1(reader: Reader) -> None:
    reader.stack.append((reader.stack.pop(),))


@_on(pickle.TUPLE2)
def _tuple2(reader: Reader) -> None:
    last = reader.stack.pop()
    reader.stack.append((reader.stack.pop(), last))


@_on(pickle.TUPLE3)
def _tuple3(reader: Reader) -> None:
    last, middle = reader.stack.pop(), reader.stack.pop()
    reader.stack.append((reader.stack.pop(), middle, last))


@_on(pickle.DICT)
def _dict(reader: Reader) -> None:
    items = reader.since_mark()
    reader.stack.append(pairs(items[::2], items[1::2]))


@_on(pickle.PUT)
def _put(reader: Reader) -> None:
    reader.memo[int(reader.line())] = reader.stack[-1]


@_on(pickle.BINPUT)
def _binput(reader: Reader) -> None:
    reader.memo[reader.number(1)] = reader.stack[-1]


@_on(pickle.LONG_BINPUT)
def _long_binput(reader: Reader) -> None:
    reader.memo[reader.number(4)] = reader.stack[-1]


@_on(pickle.MEMOIZE)
def _memoize(reader: Reader) -> None:
    reader.memo[len(reader.memo)] = reader.stack[-1]


@_on(pickle.APPEND)
def _append(reader: Reader) -> None:
    item = reader.stack.pop()
    reader.append([item])


@_on(pickle.APPENDS, pickle.ADDITEMS)
def _appends(reader: Reader) -> None:
    items = reader.since_mark()
    reader.append(items)


@_on(pickle.SETITEM)
def _set_item(reader: Reader) -> None:
    value = reader.stack.pop()
    key = reader.stack.pop()
    reader.set_items([key, value])


@_on(pickle.SETITEMS)
def _set_items(reader: Reader) -> None:
    items = reader.since_mark()
    reader.set_items(items)


@_on(pickle.STACK_GLOBAL)
def _stack_global(reader: Reader) -> None:
    name = reader.stack.pop()
    reader.stack.append(reader.name(reader.stack.pop(), name))


@_on(pickle.REDUCE, pickle.NEWOBJ)
def _reduce(reader: Reader) -> None:
    arguments = reader.stack.pop()
    reader.stack.append(reader.call(reader.stack.pop(), arguments))


@_on(pickle.NEWOBJ_EX)
def _new_with_keywords(reader: Reader) -> None:
    del reader.stack[-2:]
    function = reader.stack.pop()
    reader.stack.append(reader.step_over(str(function) if isinstance(function, Global) else "an object"))


@_on(pickle.OBJ)
def _object(reader: Reader) -> None:
    function, *arguments = reader.since_mark()
    reader.stack.append(reader.call(function, tuple(arguments)))


@_on(pickle.INST)
def _instance(reader: Reader) -> None:
    function = _name(reader)
    arguments = tuple(reader.since_mark())
    reader.stack.append(reader.call(function, arguments))


@_on(pickle.BUILD)
def _build(reader: Reader) -> None:
    state = reader.stack.pop()
    target = reader.stack[-1]  # attributes of dictionaries and of what was stepped over are nobody's weights
    if isinstance(target, Stateful):
        target.set_state(reader, state)


@_on(pickle.PERSID)
def _persistent_line(reader: Reader) -> None:
    reader.stack.append(_outside(reader, str(reader.line(), "utf-8")))


@_on(pickle.BINPERSID)
def _persistent(reader: Reader) -> None:
    reader.stack.append(_outside(reader, reader.stack.pop()))


def _outside(reader: Reader, key: object) -> object:
    if reader.persistent is None:
        raise BadPickle("it refers to something outside of it")
    return reader.persistent(key)
