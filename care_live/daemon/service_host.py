"""What Windows and launchd start as a service: it keeps one ``care-live run`` going, and its log.

A service of Windows answers the service control manager within seconds, whatever the daemon does. So the daemon is a
process of its own; it drains when its standard input ends, and so also where this process is killed. What it and its
children write goes through this process into a log of a bounded size.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, cast

from care_live.daemon.service_log import kept_log
from care_live.daemon.service_rule import PAUSE_S, Restart, ServiceRule, starts_again

_LOOK_S = 1.0


class DaemonKeeper:
    """Starts a daemon, and starts it again as the service's rule says.

    Parameters
    ----------
    command : starts the daemon; it ends when its standard input does
    """

    def __init__(self, rule: ServiceRule, *, command: Sequence[str] | None = None, pause_s: float = PAUSE_S) -> None:
        self._rule = rule
        self._command = command or (*rule.command, "--until-stdin-ends")
        self._pause_s = pause_s
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._stdin: IO[bytes] | None = None

    def run(self, waits: Callable[[], None]) -> int:
        """Keep the daemon until `stop`, or until it ends for good; return its exit code.

        Parameters
        ----------
        waits : called each second from the order to stop on, until the daemon has ended
        """
        while True:
            code = self._once(waits)
            if self._ends.is_set() or not starts_again(self._rule.restart, code):
                return code
            if self._ends.wait(self._pause_s):
                return 0

    def stop(self) -> None:
        """Order the daemon to drain; from any thread, returns at once."""
        with self._lock:
            self._ends.set()
            if self._stdin is not None:
                self._stdin.close()

    def _once(self, waits: Callable[[], None]) -> int:
        daemon = self._started()
        if daemon is None:
            return 0
        assert daemon.stdout is not None
        with kept_log(daemon.stdout, self._rule.log_file):
            return self._end_of(daemon, waits)

    def _started(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._ends.is_set():
                return None
            daemon = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._rule.config_file.parent,
            )
            self._stdin = daemon.stdin
            return daemon

    def _end_of(self, daemon: subprocess.Popen[bytes], waits: Callable[[], None]) -> int:
        ordered_s: float | None = None
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return daemon.wait(_LOOK_S)
                if self._ends.is_set():
                    waits()
                    ordered_s = ordered_s or time.monotonic()
                    if time.monotonic() - ordered_s > self._rule.stop_s:
                        daemon.kill()
        finally:
            with self._lock:
                self._stdin = None
            assert daemon.stdin is not None
            daemon.stdin.close()


def rule_of_arguments(arguments: Sequence[str]) -> ServiceRule:
    """Return the rule that `ServiceRule.host_command` has written."""
    name, config_file, restart, stop_s = arguments
    return ServiceRule(name, Path(config_file), cast(Restart, restart), int(stop_s))


def main(arguments: Sequence[str]) -> int:
    """Serve as a service until the daemon has ended; return the exit code, 0: it is not to be started again."""
    keeper = DaemonKeeper(rule_of_arguments(arguments))
    if sys.platform == "win32":
        from care_live.daemon.service_control import ServiceControl

        signal.signal(signal.SIGBREAK, signal.SIG_IGN)  # comes to every service when a user logs off
        ServiceControl(arguments[0], work=keeper.run, stop=keeper.stop).serve()
    else:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=keeper.stop, name="stop").start())
        keeper.run(lambda: None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
