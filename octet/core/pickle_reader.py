"""The machine that a pickle is a program for, and what stands for what it names: see octet.core.pickles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

MOST_STEPS = 1_000_000  # CIFAR-100's training batch has 0.2 million, a large network with its optimizer 0.1
LONGEST_NAME = 500
_STOP = 0x2E
_LARGEST_KEY = 1 << 31  # integers whose hashes an author could make collide are larger


class BadPickle(ValueError):
    """The pickle is damaged, or uses an instruction that no file of the kind needs. The message is half a sentence."""


class Global(NamedTuple):
    """A name that the pickle says: of a class or a function. It is not looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, eq=False)
class Opaque:
    """In the place of an object that was not made. what: the name of its class or of the function that makes it."""

    what: str


@runtime_checkable
class Stateful(Protocol):
    """What a constructor gave that takes the state that the pickle has for it."""

    def set_state(self, reader: Reader, state: object, /) -> None:
        """Takes the state. Raises BadPickle where it is damaged."""


Instruction = Callable[["Reader"], None]
Constructor = Callable[["Reader", tuple[object, ...]], object]  # raises BadPickle for other arguments than it knows


@dataclass(frozen=True)
class Loaded:
    """A pickle's value, the position behind its last byte, and the names of what was stepped over, sorted."""

    value: object
    end: int
    opaque: tuple[str, ...]


class Reader:
    """The machine that a pickle is a program for: a stack, a stack of stacks for marks, and a memo."""

    def __init__(
        self,
        data: bytes | bytearray,
        constructors: Mapping[tuple[str, str], Constructor],
        persistent: Callable[[object], object] | None = None,
        start: int = 0,
    ):
        self.data, self.constructors, self.persistent, self.position = data, constructors, persistent, start
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.opaque: set[str] = set()
        self.steps_left, self.copies_left = MOST_STEPS, 4 * len(data) + (1 << 20)

    def load(self, instructions: Mapping[int, Instruction]) -> Loaded:
        """Runs to the end. Raises BadPickle."""
        try:
            while (code := self.data[self.position]) != _STOP:
                self.position += 1
                self.steps_left -= 1
                if self.steps_left < 0:
                    self.spend(0)
                instruction = instructions.get(code)
                if instruction is None:
                    raise BadPickle(f"it has the instruction {code:#04x}, which no such file needs")
                instruction(self)
            return Loaded(self.stack.pop(), self.position + 1, tuple(sorted(self.opaque)))
        except BadPickle:
            raise
        except (LookupError, ValueError):
            raise BadPickle(f"it is damaged or cut off at byte {self.position:,}") from None

    def spend(self, steps: int, copied: int = 0) -> None:
        """Counts work that the file asks for: instructions or entries, and bytes that are copied."""
        self.steps_left -= steps
        self.copies_left -= copied
        if self.steps_left < 0 or self.copies_left < 0:
            raise BadPickle(f"it asks for more than {MOST_STEPS:,} steps, or for more copies than fit its size")

    def take(self, count: int) -> memoryview:
        """The next bytes."""
        if not 0 <= count <= len(self.data) - self.position:
            raise BadPickle(f"it is cut off: {count:,} bytes should follow byte {self.position:,}")
        self.position += count
        return memoryview(self.data)[self.position - count : self.position]

    def number(self, size: int, signed: bool = False) -> int:
        """The next bytes as an integer."""
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        """The bytes up to the next line break, which is passed."""
        line = bytes(self.take(self.data.index(b"\n", self.position) - self.position))
        self.position += 1
        return line

    def name(self, module: object, name: object) -> Global:
        """A name, of text."""
        if not isinstance(module, str) or not isinstance(name, str) or len(module) + len(name) > LONGEST_NAME:
            raise BadPickle(f"it names a function by what is no text of at most {LONGEST_NAME} characters")
        return Global(module, name)

    def since_mark(self) -> list[object]:
        """What was put on the stack since the last mark; the mark goes."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def call(self, function: object, arguments: object) -> object:
        """What calling a name gives: by its constructor, or opaque."""
        if not isinstance(function, Global | Opaque) or not isinstance(arguments, tuple):
            raise BadPickle("it calls what is no name of a function")
        constructor = self.constructors.get(function) if isinstance(function, Global) else None
        if constructor is not None:
            return constructor(self, arguments)
        return self.step_over(function.what if isinstance(function, Opaque) else str(function))

    def step_over(self, what: str) -> Opaque:
        """An opaque object of that name, which is noted."""
        self.opaque.add(what)
        return Opaque(what)

    def append(self, items: list[object]) -> None:
        """Adds items to the list on the stack."""
        if isinstance(self.stack[-1], list):
            self.stack[-1] += items
        elif not isinstance(self.stack[-1], Opaque):
            raise BadPickle("it appends to what is no list")

    def set_items(self, items: list[object]) -> None:
        """Adds keys and values, in turn, to the dictionary on the stack."""
        target = self.stack[-1]
        if isinstance(target, dict):
            target.update(pairs(items[::2], items[1::2]))
        elif not isinstance(target, Opaque):
            raise BadPickle("it sets items of what is no dictionary")


def pairs(keys: list[object], values: list[object]) -> dict[object, object]:
    """A dictionary; a key of a kind whose hash an author could choose becomes opaque, equal to no other."""
    if len(keys) != len(values):
        raise BadPickle("a dictionary has a key without a value")
    return {_key(key): value for key, value in zip(keys, values, strict=True)}


def _key(key: object) -> object:
    if isinstance(key, int) and not -_LARGEST_KEY < key < _LARGEST_KEY:
        return Opaque("int")
    return key if isinstance(key, str | bytes | float | int | None) else Opaque(type(key).__name__)
