"""Micro-Manager's Java side, as far as pycromanager's Java backend talks to it: bridge, engine, hooks, processor.

Written from pycromanager's Python side of the wire (pyjavaz 1.2, REQ/REP with JSON on the bridge, PUSH/PULL for
events, hooks, images and notifications). It shows that our side of the Java path works against that format; it
cannot show that Micro-Manager itself behaves so.
"""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import zmq

from tests.make.runs import free_ports

Method = tuple[list[str], str, Callable[..., Any]]
"""Java types of the arguments, Java type of the result, and what it does."""
SHAPE = (24, 32)


class JavaObject:
    """What the bridge knows of one object."""

    def __init__(self, name: str, methods: dict[str, Method], fields: dict[str, int] | None = None) -> None:
        self.name, self.methods, self.fields = name, methods, fields or {}

    def described(self) -> dict[str, Any]:
        api = [{"name": n, "arguments": a, "return-type": r} for n, (a, r, _) in self.methods.items()]
        return {
            "type": "unserialized-object",
            "class": self.name,
            "hash-code": id(self),
            "interfaces": [self.name, "java.lang.Object"],
            "fields": list(self.fields),
            "api": api,
        }


class JavaPeer:
    """A Micro-Manager that runs the events it gets on a camera whose images carry their number."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._objects: dict[int, JavaObject] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self.finished = threading.Event()
        self._hook: tuple[zmq.Socket[bytes], zmq.Socket[bytes]] | None = None
        self._processor: tuple[zmq.Socket[bytes], zmq.Socket[bytes]] | None = None
        self._notes: zmq.Socket[bytes] | None = None
        self._events, self._event_port = self._pulling()
        self.n_images = 0
        self.n_aborts = 0
        self.port = self._serve()
        self._start(self._engine)

    def close(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
        self._context.destroy(linger=0)

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _bound(self, kind: int) -> tuple[zmq.Socket[bytes], int]:
        socket = self._context.socket(kind)
        socket.linger = 0
        return socket, socket.bind_to_random_port("tcp://127.0.0.1")

    def _pulling(self) -> tuple[zmq.Socket[bytes], int]:
        """Java connects where Python binds: the side that pushes binds.

        A port that systems give to outgoing connections may be taken before that, even by this one's own attempts.
        """
        (port,) = free_ports(1)
        socket = self._context.socket(zmq.PULL)
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")
        return socket, port

    # -- the bridge -----------------------------------------------------------------------------------------------

    def _serve(self) -> int:
        socket, port = self._bound(zmq.REP)
        self._start(self._answer_all, socket)
        return port

    def _answer_all(self, socket: zmq.Socket[bytes]) -> None:
        while not self._stopping.is_set():
            if socket.poll(50):
                answer = self._answer(json.loads(socket.recv_multipart()[0].decode("iso-8859-1")))
                socket.send(json.dumps(answer).encode("iso-8859-1"))
        socket.close(linger=0)

    def _answer(self, ask: dict[str, Any]) -> dict[str, Any]:
        command = ask["command"]
        if command == "connect":
            return {"type": "none", "version": "5.1.0"}
        if command == "get-constructors":
            arguments = _CONSTRUCTORS[ask["classpath"]]
            return {"type": "none", "api": [{"name": ask["classpath"], "arguments": arguments}]}
        if command == "constructor":
            return {**self._made(ask["classpath"]), **({"port": self._serve()} if ask.get("new-port") else {})}
        if command == "get-field":
            return {"type": "primitive", "value": self._objects[ask["hash-code"]].fields[ask["name"]]}
        if command == "run-method":
            return self._wrapped(self._objects[ask["hash-code"]].methods[ask["name"]][2](*ask["arguments"]))
        return {"type": "null"}  # a destructor

    def _made(self, classpath: str) -> dict[str, Any]:
        make = {
            "mmcorej.CMMCore": self._core,
            "org.micromanager.remote.RemoteAcquisitionFactory": self._factory,
            "org.micromanager.remote.RemoteImageProcessor": self._image_processor,
            "org.micromanager.remote.RemoteAcqHook": self._acq_hook,
            "org.micromanager.remote.RemoteNotificationHandler": self._notifications,
        }[classpath]
        return self._wrapped(make())

    def _wrapped(self, value: Any) -> dict[str, Any]:
        if isinstance(value, JavaObject):
            self._objects[id(value)] = value
            return value.described()
        if isinstance(value, dict):
            return {"type": "object", "class": "JSONObject", "value": json.dumps(value)}
        if value is None:
            return {"type": "null"}
        return {"type": "string" if isinstance(value, str) else "primitive", "value": value}

    # -- the objects ----------------------------------------------------------------------------------------------

    def _core(self) -> JavaObject:
        text = "java.lang.String"
        return JavaObject(
            "mmcorej.CMMCore",
            {
                "getNumberOfCameraChannels": ([], "long", lambda: 1),
                "isSequenceRunning": ([], "boolean", lambda: False),
                "getBytesPerPixel": ([], "long", lambda: 2),
                "getImageHeight": ([], "long", lambda: SHAPE[0]),
                "getImageWidth": ([], "long", lambda: SHAPE[1]),
                "getFocusDevice": ([], text, lambda: "Z"),
                "getAvailableConfigGroups": ([], "mmcorej.StrVector", lambda: _vector("Channel", "System")),
                "getAvailableConfigs": ([text], "mmcorej.StrVector", lambda group: _vector("DAPI", "FITC")),
                "hasProperty": ([text, text], "boolean", lambda device, name: False),
            },
        )

    def _factory(self) -> JavaObject:
        kinds = ["java.lang.String", "java.lang.String", "boolean", "int", "boolean"]
        make: Method = (kinds, "org.micromanager.acqj.main.Acquisition", lambda *_: self._acquisition())
        return JavaObject("org.micromanager.remote.RemoteAcquisitionFactory", {"createAcquisition": make})

    def _acquisition(self) -> JavaObject:
        thing = "java.lang.Object"
        return JavaObject(
            "org.micromanager.acqj.main.Acquisition",
            {
                "areEventsFinished": ([], "boolean", self.finished.is_set),
                "isFinished": ([], "boolean", self.finished.is_set),
                "getDataSink": ([], thing, self._sink),
                "checkForExceptions": ([], "void", lambda: None),
                "blockUntilEventsFinished": (["double"], "void", lambda seconds: self.finished.wait(seconds) and None),
                "waitForCompletion": ([], "void", lambda: None),
                "addImageProcessor": ([thing], "void", lambda processor: None),
                "addHook": ([thing, "int"], "void", lambda hook, when: None),
                "getEventPort": ([], "int", lambda: self._event_port),
                "abort": ([], "void", self._abort),
            },
            {"AFTER_HARDWARE_HOOK": 3},
        )

    def _abort(self) -> None:
        self.n_aborts += 1

    def _sink(self) -> JavaObject:
        storage = JavaObject(
            "org.micromanager.ndtiffstorage.NDRAMStorage",
            {
                "getDiskLocation": ([], "java.lang.String", lambda: None),
                "getSummaryMetadata": ([], "mmcorej.org.json.JSONObject", lambda: {"PixelSize_um": 0.5}),
            },
        )
        methods: dict[str, Method] = {
            "getStorage": ([], "java.lang.Object", lambda: storage),
            "isFinished": ([], "boolean", self.finished.is_set),
        }
        return JavaObject("org.micromanager.remote.RemoteStorage", methods)

    def _pair(self, name: str, pull: zmq.Socket[bytes], push_port: int, pull_port: int) -> JavaObject:
        nothing: Method = ([], "void", lambda: None)
        return JavaObject(
            name,
            {
                "getPullPort": ([], "int", lambda: pull_port),
                "getPushPort": ([], "int", lambda: push_port),
                "startPull": nothing,
                "startPush": nothing,
            },
        )

    def _image_processor(self) -> JavaObject:
        (push, push_port), (pull, pull_port) = self._bound(zmq.PUSH), self._pulling()
        self._processor = push, pull
        return self._pair("org.micromanager.remote.RemoteImageProcessor", pull, push_port, pull_port)

    def _acq_hook(self) -> JavaObject:
        (push, push_port), (pull, pull_port) = self._bound(zmq.PUSH), self._pulling()
        self._hook = push, pull
        return self._pair("org.micromanager.remote.RemoteAcqHook", pull, push_port, pull_port)

    def _notifications(self) -> JavaObject:
        self._notes, port = self._bound(zmq.PUSH)
        nothing: Method = ([], "void", lambda: None)
        return JavaObject(
            "org.micromanager.remote.RemoteNotificationHandler",
            {"getPort": ([], "int", lambda: port), "start": nothing, "notificationHandlingComplete": nothing},
        )

    # -- the engine -----------------------------------------------------------------------------------------------

    def _engine(self) -> None:
        """Run what comes: events of one stack that give their height as ``z`` are merged, as Java does."""
        while not self._stopping.is_set():
            if not self._events.poll(50):
                continue
            events = json.loads(self._events.recv_multipart()[0].decode("iso-8859-1"))["events"]
            if events[0].get("special") == "acquisition-end":
                self._end()
                return
            for _, stack in groupby(events, key=_stack):
                self._run(list(stack))

    def _run(self, stack: list[dict[str, Any]]) -> None:
        if len(stack) > 1:
            self._ask_hook({"events": stack})
        else:
            self._ask_hook(stack[0])
        for number, event in enumerate(stack):
            tags = {
                "Axes": event["axes"],
                "Width": SHAPE[1],
                "Height": SHAPE[0],
                "PixelType": "GRAY16",
                "BitDepth": 16,
                "Exposure": event["exposure"],
                **({"ImageNumber": str(number)} if len(stack) > 1 else {}),
            }
            self._send_image(tags, np.full(SHAPE, self.n_images, np.uint16))
            self.n_images += 1

    def _ask_hook(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._hook is not None
        push, pull = self._hook
        push.send(json.dumps(message).encode("iso-8859-1"))
        while not pull.poll(50):
            assert not self._stopping.is_set()
        answer: dict[str, Any] = json.loads(pull.recv_multipart()[0].decode("iso-8859-1"))
        assert answer == message, "a hook that only listens returns what it got"
        return answer

    def _send_image(self, tags: dict[str, Any], pixels: np.ndarray) -> None:
        """The pixels travel apart; in the JSON is the name of their part, after the @ in hexadecimal."""
        assert self._processor is not None
        part = 0x1000000 + self.n_images
        header = {"metadata": tags, "pixels": {"type": "short-array", "value": f"[S@{part:x}"}}
        self._processor[0].send_multipart(
            [json.dumps(header).encode("iso-8859-1"), struct.pack("=i", part), pixels.tobytes()]
        )

    def _end(self) -> None:
        assert self._processor is not None
        assert self._notes is not None
        self._ask_hook({"special": "acquisition-end"})
        push, pull = self._processor
        push.send(b'{"special": "finished"}')
        while not pull.poll(50):
            assert not self._stopping.is_set()
        assert json.loads(pull.recv_multipart()[0]) == {"special": "finished"}, "our tap keeps the images"
        self._notes.send(b'{"type": "global", "milestone": "acq_events_finished"}')
        self._notes.send(b'{"type": "image", "milestone": "data_sink_finished"}')
        self.finished.set()


def _vector(*names: str) -> JavaObject:
    methods: dict[str, Method] = {
        "get": (["int"], "java.lang.String", lambda i: names[i]),
        "size": ([], "long", lambda: len(names)),
    }
    return JavaObject("mmcorej.StrVector", methods)


def _stack(event: dict[str, Any]) -> tuple[Any, ...]:
    axes = event["axes"]
    return (axes["time"], axes["channel"], axes["z"] if "stage_positions" in event else None)


_CONSTRUCTORS = {
    "mmcorej.CMMCore": [],
    "org.micromanager.remote.RemoteAcquisitionFactory": ["mmcorej.CMMCore"],
    "org.micromanager.remote.RemoteImageProcessor": [],
    "org.micromanager.remote.RemoteAcqHook": ["org.micromanager.acqj.main.Acquisition"],
    "org.micromanager.remote.RemoteNotificationHandler": ["org.micromanager.acqj.main.Acquisition"],
}
