"""A real orchestrator in a folder of its own. COPO_BIN names the `copo` binary; without it these tests are skipped."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from typing import Any, Callable, Iterable, List, TypeVar

import copo

T = TypeVar("T")
DEADLINE = 20.0  # Seconds in which whatever a test waits for has come, on a machine as slow as they get.


class Application:
    """An application that is up. `programs` are Python programs that run as its processes, by name."""

    def __init__(self, **programs: str) -> None:
        copo_bin = os.environ.get("COPO_BIN")
        if not copo_bin:
            if os.environ.get("CI"):
                raise AssertionError("COPO_BIN is not set")
            raise unittest.SkipTest("COPO_BIN is not set")
        self.copo_bin = copo_bin
        # Short: the path of a socket has little room.
        self._folder = tempfile.TemporaryDirectory(prefix="copo-py-")
        self.folder = pathlib.Path(self._folder.name)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("COPO_")}
        self.environment["COPO_HOME"] = str(self.folder / "home")
        lines = ['application = "py"', "[context]", 'headers = ["station", "celsius"]']
        for name, program in programs.items():
            (self.folder / f"{name}.py").write_text(program)
            executable = json.dumps(sys.executable)
            lines += [f"[process.{name}]", f"executable_path = {executable}", f'file_path = "{name}.py"', 'restart = "no"']
            lines += ['stop_grace = "20s"']
        (self.folder / "copo.toml").write_text("\n".join(lines) + "\n")
        self.socket = self.folder / "home" / "py" / "orchestrator" / "sock"

    def __enter__(self) -> Application:
        self.run("up", "-d")
        return self

    def __exit__(self, *exception: object) -> None:
        self.run("down", "-t", "2")
        self._folder.cleanup()

    def run(self, *arguments: str, check: bool = True) -> str:
        """Run the command line on this application and return what it prints."""
        command = [self.copo_bin, "-f", str(self.folder / "copo.toml"), *arguments]
        done = subprocess.run(
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} exits {done.returncode}: {done.stderr}{self.log()}")
        return done.stdout

    def log(self) -> str:
        logs = (self.folder / "home" / "py" / "logs").glob("*.log")
        return "".join(f"\n--- {path.name}\n{path.read_text(errors='replace')}" for path in logs)

    def connect(self, name: str = "test") -> copo.Client:
        return copo.connect(self.socket, name=name)


class WithApplication(unittest.TestCase):
    """Tests that share one application and its client; each uses keys of its own."""

    app: Application
    client: copo.Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.app = Application()
        cls.app.__enter__()
        cls.client = cls.app.connect()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.client.close()
        cls.app.__exit__()

    def key(self, part: str = "") -> str:
        """A key that no other test uses."""
        return self._testMethodName + (f"/{part}" if part else "")


def records(items: Iterable[Any]) -> List[copo.Record]:
    """All items, which must be records."""
    listed = list(items)
    for item in listed:
        assert isinstance(item, copo.Record), item
    return listed


def buffs(items: Iterable[Any]) -> List[bytes]:
    return [record.udd_buff for record in records(items)]


def in_background(call: Callable[[], T]) -> Callable[[], T]:
    """Start `call` on a thread; what this returns waits for its result."""
    outcome: List[Any] = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except BaseException as error:  # It is raised where the result is asked for.
            outcome.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result() -> T:
        thread.join(DEADLINE)
        if not outcome:
            raise AssertionError(f"still running after {DEADLINE} s")
        value, error = outcome[0]
        if error is not None:
            raise error
        done: T = value
        return done

    return result


def eventually(fact: Callable[[], T], what: str) -> T:
    """Wait until `fact` gives something true."""
    end = time.monotonic() + DEADLINE
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {DEADLINE} s: {what}")
        time.sleep(0.01)
