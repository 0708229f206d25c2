"""Calls of Windows' service control manager: it starts this process, orders it to stop, and learns its state.

See *Service Control Handler Function* and *SERVICE_STATUS* in Microsoft's documentation of Win32.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import wintypes

RUNNING, STOP_PENDING, STOPPED = 4, 3, 1
ORDERS_THE_END = frozenset({0x1, 0x5, 0xF})
"""SERVICE_CONTROL_STOP, _SHUTDOWN and _PRESHUTDOWN."""

_OWN_PROCESS = 0x10
_ACCEPTS = 0x1 | 0x100
"""SERVICE_ACCEPT_STOP and _PRESHUTDOWN: before a shutdown a service has minutes, at it five seconds."""
_SPECIFIC_ERROR = 1066
_INTERROGATE, _NOT_IMPLEMENTED = 4, 120
_PATIENCE_MS = 30_000
"""How long a service that stops may send the manager nothing."""


class ServiceState(ctypes.Structure):
    """SERVICE_STATUS."""

    _fields_ = (
        ("service_type", wintypes.DWORD),
        ("state", wintypes.DWORD),
        ("accepts", wintypes.DWORD),
        ("error", wintypes.DWORD),
        ("exit_code", wintypes.DWORD),
        ("checkpoint", wintypes.DWORD),
        ("patience_ms", wintypes.DWORD),
    )


def state_of(state: int, *, exit_code: int = 0, checkpoint: int = 0) -> ServiceState:
    """Return what the manager gets: a state, the daemon's exit code, and that stopping goes on.

    Parameters
    ----------
    checkpoint : a number that grows while a service stops, or the manager gives up
    """
    return ServiceState(
        _OWN_PROCESS,
        state,
        _ACCEPTS if state == RUNNING else 0,
        _SPECIFIC_ERROR if exit_code else 0,
        exit_code,
        checkpoint,
        _PATIENCE_MS if state == STOP_PENDING else 0,
    )


if sys.platform == "win32":
    _Main = ctypes.WINFUNCTYPE(None, wintypes.DWORD, ctypes.POINTER(wintypes.LPWSTR))
    _Handler = ctypes.WINFUNCTYPE(wintypes.DWORD, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID, wintypes.LPVOID)

    class _TableEntry(ctypes.Structure):
        _fields_ = (("name", wintypes.LPWSTR), ("main", _Main))

    class ServiceControl:
        """One service in this process.

        Parameters
        ----------
        work : does what the service is for, and returns its exit code; it calls what it is given each second that it
            takes to stop
        stop : orders the end of `work`, from any thread; returns at once
        """

        def __init__(self, name: str, *, work: Callable[[Callable[[], None]], int], stop: Callable[[], None]) -> None:
            self._name = name
            self._work = work
            self._stop = stop
            self._n_waited = 0
            self._handle: int | None = None
            self._main = _Main(self._service_main)  # kept: Windows calls them later
            self._handler = _Handler(self._obey)
            self._windows = ctypes.WinDLL("advapi32", use_last_error=True)
            self._windows.RegisterServiceCtrlHandlerExW.restype = wintypes.HANDLE
            self._windows.RegisterServiceCtrlHandlerExW.argtypes = (wintypes.LPCWSTR, _Handler, wintypes.LPVOID)
            self._windows.SetServiceStatus.argtypes = (wintypes.HANDLE, ctypes.POINTER(ServiceState))

        def serve(self) -> None:
            """Answer the manager until the service has stopped; in the main thread.

            Raises
            ------
            OSError
                The manager did not start this process.
            """
            table = (_TableEntry * 2)(_TableEntry(self._name, self._main))  # an empty entry ends it
            if not self._windows.StartServiceCtrlDispatcherW(table):
                raise ctypes.WinError(ctypes.get_last_error())

        def _service_main(self, n_arguments: int, arguments: object) -> None:
            self._handle = self._windows.RegisterServiceCtrlHandlerExW(self._name, self._handler, None)
            self._report(state_of(RUNNING))
            code = 1
            try:
                code = self._work(self._wait)
            finally:
                self._report(state_of(STOPPED, exit_code=code))

        def _wait(self) -> None:
            self._n_waited += 1
            self._report(state_of(STOP_PENDING, checkpoint=self._n_waited))

        def _obey(self, order: int, event: int, data: object, context: object) -> int:
            if order in ORDERS_THE_END:
                self._wait()
                self._stop()
                return 0
            return 0 if order == _INTERROGATE else _NOT_IMPLEMENTED

        def _report(self, state: ServiceState) -> None:
            self._windows.SetServiceStatus(self._handle, ctypes.byref(state))
