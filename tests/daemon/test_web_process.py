"""The browser page beside a run: it comes up, and it goes with the process that started it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import pytest

from care_live.config import PublishConfig, WebConfig
from care_live.daemon.web_process import Page
from care_live.errors import StageError
from tests.make.runs import free_ports

pytestmark = pytest.mark.slow


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def test_the_page_comes_up_and_ends(tmp_path):
    page = Page(WebConfig(bind="127.0.0.1:0"), PublishConfig(bind_pull=f"tcp://127.0.0.1:{free_ports(1)[0]}"), tmp_path)
    url = page.start()
    assert answers(url)
    page.stop()
    assert not answers(url)


def test_a_page_that_cannot_start_says_why(tmp_path):
    with pytest.raises(StageError, match="nowhere"):
        Page(WebConfig(bind="nowhere.invalid:1"), PublishConfig(), tmp_path).start()


def test_the_page_does_not_outlive_a_killed_daemon(tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        from care_live.config import PublishConfig, WebConfig
        from care_live.daemon.web_process import Page
        print(Page(WebConfig(bind="127.0.0.1:0"), PublishConfig(), Path(sys.argv[1])).start(), flush=True)
        time.sleep(60)
    """
    daemon = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with daemon:
        url = daemon.stdout.readline().strip()
        assert answers(url)
        daemon.kill()
    deadline = time.monotonic() + 60
    while answers(url) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not answers(url)
