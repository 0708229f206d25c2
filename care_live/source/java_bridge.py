"""Calls to a running Micro-Manager over its server (*Run server on port 4827*), with a deadline for each.

The server speaks PyJavaZ 5.1: a request of JSON in Latin-1 and its reply, arrays of pixels beside it as bytes. This
side knows what it calls and with which types, so it needs neither pyjavaz nor the list of methods that comes with every
object. It differs from pyjavaz in four points: a call that isn't answered ends, objects are released when their user
says so and not by Python's collector in any thread, nothing is cached by name, and calls that don't need each other's
results are sent together, since waiting for each of them costs both ends more than the call itself.

The main port serves all clients one call after the other, and a script may hold it for a whole acquisition. So the
first call asks for a port of our own, which is used again after a break.
"""

from __future__ import annotations

import contextlib
import json
import socket as bsd
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from care_live.errors import SourceError
from care_live.recorded.property_map import plain
from care_live.wire.sockets import Socket, Sockets

_HOST = "127.0.0.1"
_KNOCK_S = 1.0
_DTYPES = {"byte-array": "u1", "short-array": "u2", "int-array": "u4", "float-array": "f4"}
_NO_VALUE = ("null", "none")
_TOGETHER = 16
"""Requests that may wait for their replies at a time."""


class UnansweredError(SourceError):
    """A call was not answered in time: Micro-Manager has ended, or it is busy."""


class JavaError(SourceError):
    """Micro-Manager answered a call with an exception."""


@dataclass(frozen=True, slots=True)
class JavaObject:
    """An object of Micro-Manager that it keeps until we release it."""

    hash_code: str
    class_name: str


Java: TypeAlias = JavaObject | NDArray[Any] | str | int | float | bool | None
"""What a method gives."""


@dataclass(frozen=True, slots=True)
class JavaCall:
    """A method of an object to be called; *types* are Java's names of the arguments' types."""

    target: JavaObject
    method: str
    arguments: Sequence[Java] = ()
    types: Sequence[str] = ()
    is_static: bool = False


class _Reply(msgspec.Struct, rename={"hash_code": "hash-code", "class_name": "class"}):
    type: str
    value: Any = None
    hash_code: str = ""
    class_name: str = ""
    port: int = 0


_Answer: TypeAlias = tuple[_Reply, list[memoryview]]
"""A reply, and the parts of its message behind it: for each array a number and the bytes."""


class JavaBridge:
    """One client of the server; threads may share it.

    Parameters
    ----------
    port : of the server
    answer_s : how long a call may take
    """

    def __init__(self, port: int, *, answer_s: float = 10.0) -> None:
        self._port, self._own_port = port, 0
        self._answer_s = answer_s
        self._sockets = Sockets()
        self._socket: Socket | None = None
        self._turn = threading.RLock()
        """Held from a request to its reply."""

    def open(self) -> JavaObject:
        """Connect, also anew; return Micro-Manager's ``Studio``.

        Raises
        ------
        SourceError
            The port is closed, or what answers there is no Micro-Manager.
        """
        with self._turn:
            if self._own_port and is_open(self._own_port):
                self._connect(self._own_port)
            else:
                if not is_open(self._port):
                    raise SourceError(f"nothing listens on port {self._port}")
                self._connect(self._port)
                self._own_port = self._ask({**_STUDIO, "new-port": True}).port
                self._connect(self._own_port)
            reply = self._ask(_STUDIO)
            return JavaObject(reply.hash_code, reply.class_name)

    def _connect(self, port: int) -> None:
        self._disconnect()
        self._socket = self._sockets.connect("dealer", f"tcp://{_HOST}:{port}", hwm=4 * _TOGETHER)  # ZeroMQ counts late
        self._ask({"command": "connect", "debug": False})

    def call(self, target: JavaObject, method: str, *arguments: Java, types: Sequence[str] = ()) -> Java:
        """Call a method.

        Parameters
        ----------
        types : of the arguments, Java's names

        Raises
        ------
        UnansweredError
            No answer came in time; the next call needs `open`.
        JavaError
            The method raised.
        """
        (value,) = self.calls(JavaCall(target, method, arguments, types))
        return value

    def calls(self, *calls: JavaCall, release: Sequence[JavaObject] = ()) -> list[Java]:
        """Call methods one after the other, then release objects; return what the methods give.

        Raises
        ------
        UnansweredError
            As `call`.
        JavaError
            A method raised; the others were called all the same, and the objects that they gave are released.
        """
        answers = self._exchange([_asked(one) for one in calls] + [_released(one) for one in release])[: len(calls)]
        try:
            return [_value(*answer) for answer in answers]
        except JavaError:
            self.release(*_objects(answers))
            raise

    def static(self, class_name: str, method: str, *arguments: Java, types: Sequence[str] = ()) -> Java:
        """Call a static method of a class; parameters and errors as those of `call`."""
        reply = self._ask({"command": "get-class", "classpath": class_name})
        of_class = JavaObject(reply.hash_code, class_name)
        try:
            (value,) = self.calls(JavaCall(of_class, method, arguments, types, is_static=True))
            return value
        finally:
            self.release(of_class)

    def field(self, target: JavaObject, name: str) -> Java:
        """Return a field of an object; errors as those of `call`."""
        (answer,) = self._exchange([{"command": "get-field", "hash-code": target.hash_code, "name": name}])
        return _value(*answer)

    def get(self, target: JavaObject, method: str, *arguments: Java, types: Sequence[str] = ()) -> JavaObject:
        """Call a method that gives an object.

        Raises
        ------
        SourceError
            It gives none, or as `call`.
        """
        found = self.call(target, method, *arguments, types=types)
        if not isinstance(found, JavaObject):
            raise JavaError(f"{target.class_name}.{method} gives {found!r}; wanted an object")
        return found

    @contextlib.contextmanager
    def lent(
        self, target: JavaObject, method: str, *arguments: Java, types: Sequence[str] = ()
    ) -> Iterator[JavaObject]:
        """Call a method that gives an object, and release that behind the block."""
        found = self.get(target, method, *arguments, types=types)
        try:
            yield found
        finally:
            self.release(found)

    def release(self, *objects: JavaObject) -> None:
        """Let Micro-Manager forget objects; without a connection there is nothing to do."""
        if self._socket is not None:
            with contextlib.suppress(SourceError):
                self._exchange([_released(one) for one in objects])

    def close(self) -> None:
        with self._turn:
            self._disconnect()
            self._sockets.close()

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._sockets.drop(self._socket)
        self._socket = None

    def _ask(self, request: dict[str, Any]) -> _Reply:
        ((reply, _),) = self._exchange([request])
        return _checked(reply)

    def _exchange(self, requests: Sequence[dict[str, Any]]) -> list[_Answer]:
        """Send requests and wait for their replies; a connection with a reply still to come is never used again."""
        assert len(requests) <= _TOGETHER
        with self._turn:
            if self._socket is None:
                raise UnansweredError(f"there is no connection to Micro-Manager's port {self._port}")
            try:
                if not all(self._socket.send([b"", json.dumps(request).encode()]) for request in requests):
                    raise UnansweredError(f"Micro-Manager does not read its port {self._port}")
                return [_decoded(self._receive(self._socket)) for _ in requests]
            except BaseException:
                self._disconnect()
                raise

    def _receive(self, socket: Socket) -> list[memoryview]:
        until = time.monotonic() + self._answer_s
        while (left := until - time.monotonic()) > 0:
            if self._sockets.poll(left) and (received := socket.receive()) is not None:
                return received.parts
        raise UnansweredError(f"Micro-Manager did not answer on port {self._port} within {self._answer_s:g} s")


_STUDIO: dict[str, Any] = {
    "command": "constructor",
    "classpath": "org.micromanager.Studio",
    "argument-types": [],
    "argument-deserialization-types": [],
    "arguments": [],
}


def _asked(call: JavaCall) -> dict[str, Any]:
    packed = [{"hash-code": one.hash_code} if isinstance(one, JavaObject) else one for one in call.arguments]
    return {
        "command": "run-method",
        "static": call.is_static,
        "hash-code": call.target.hash_code,
        "java_class_name": call.target.class_name,
        "name": call.method,
        "argument-types": list(call.types),
        "argument-deserialization-types": list(call.types),
        "arguments": packed,
    }


def _released(target: JavaObject) -> dict[str, Any]:
    return {"command": "destructor", "hash-code": target.hash_code, "java_class_name": target.class_name}


def _checked(reply: _Reply) -> _Reply:
    if reply.type == "exception":
        raise JavaError(f"Micro-Manager: {str(reply.value).splitlines()[0][:300]}")
    return reply


def _value(reply: _Reply, arrays: list[memoryview]) -> Java:
    """Return what a method gave."""
    if _checked(reply).type in _NO_VALUE:
        return None
    if reply.type == "unserialized-object":
        return JavaObject(reply.hash_code, reply.class_name)
    if reply.type in _DTYPES:
        return np.frombuffer(arrays[1], dtype=_DTYPES[reply.type])
    if isinstance(reply.value, str | int | float):
        return reply.value
    raise JavaError(f"Micro-Manager gives a {reply.type}; wanted a number, a text, pixels or an object")


def _objects(answers: Sequence[_Answer]) -> list[JavaObject]:
    return [JavaObject(one.hash_code, one.class_name) for one, _ in answers if one.type == "unserialized-object"]


def _decoded(parts: list[memoryview]) -> _Answer:
    """Take a reply apart: an empty part, JSON, then a number and bytes for each array."""
    try:
        return msgspec.json.decode(bytes(parts[1]).decode("latin-1"), type=_Reply), parts[2:]
    except (msgspec.MsgspecError, IndexError) as error:
        raise SourceError(f"what answers is no Micro-Manager: {error}") from error


def is_open(port: int) -> bool:
    """Tell whether a program of this machine listens on a port."""
    with contextlib.suppress(OSError), bsd.create_connection((_HOST, port), timeout=_KNOCK_S):
        return True
    return False


def summary_of(bridge: JavaBridge, store: JavaObject) -> dict[str, Any]:
    """Return Micro-Manager's summary of an acquisition, in the form that its files have; empty: it has none yet."""
    found = bridge.call(store, "getSummaryMetadata")
    if not isinstance(found, JavaObject):
        return {}
    try:
        with bridge.lent(found, "toPropertyMap") as tree:
            return plain(str(bridge.call(tree, "toJSON")), "an acquisition's summary")
    finally:
        bridge.release(found)
