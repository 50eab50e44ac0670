"""Debian's Chromium, driven over the pipe of its DevTools protocol: nothing to install beside the browser."""

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.waiting import holds_within

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0
"""Seconds to wait for an answer of the browser."""


class Browser:
    """One page of a headless Chromium, and everything that it said or asked for."""

    def __init__(self, executable: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()

        def hand_over() -> None:
            # The protocol's pipe is read at 3 and written at 4; copies first, for these numbers may be taken.
            incoming, outgoing = os.dup(to_browser), os.dup(from_browser)
            os.dup2(incoming, 3)
            os.dup2(outgoing, 4)

        self._process = subprocess.Popen(
            [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over,  # noqa: PLW1509 - no other thread runs yet
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self._shown: tuple[Path, int, int] | None = None
        """The page that is open as it was opened, and the window's size."""
        self.errors: list[str] = []
        """Errors of the console, refusals of the policy, exceptions nobody caught."""
        self.requests: list[str] = []
        """Every address that was asked for; inlined data, and what the page's own policy stopped, left out."""
        self._asked: dict[str, str] = {}
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what happens meanwhile is noted."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            self._buffer += os.read(self._read, 1 << 20)
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def _note(self, event: dict[str, Any]) -> None:
        method, said = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(said["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(json.dumps(said["args"])[:500])
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith("data:"):
            self.requests.append(said["request"]["url"])
            self._asked[said["requestId"]] = said["request"]["url"]
        elif method == "Network.loadingFailed" and said.get("blockedReason") == "csp":
            # Stopped by the page's policy before anything left.
            self.requests.remove(self._asked[said["requestId"]])

    def open(self, page: Path, *, width: int = 1000, height: int = 900, dark: bool = False) -> Self:
        """Open a file as a page of this size, and wait until its charts are drawn."""
        self._light(dark)
        self.resize(width, height)
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && document.documentElement.dataset.drawn === 'all'")
        self._shown = page, width, height
        return self

    def show(self, page: Path, *, width: int = 1000, height: int = 900, dark: bool = False) -> Self:
        """As `open`, for who leaves the page as it is: if it is open already, it is not drawn again."""
        if self._shown != (page, width, height):
            return self.open(page, width=width, height=height, dark=dark)
        self._light(dark)
        return self

    def resize(self, width: int, height: int = 900) -> None:
        """Make the window so large."""
        self._shown = None
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def _light(self, dark: bool) -> None:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true in the page."""
        if not holds_within(lambda: self.evaluate(condition), PATIENCE, every=0.05):
            raise TimeoutError(f"{condition} did not come true; errors: {self.errors}")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the mouse at a point of the window, move it to another and let go."""
        self._mouse("mouseMoved", start, 0)
        self._mouse("mousePressed", start, 1)
        for step in range(1, 6):
            share = step / 5
            self._mouse("mouseMoved", tuple(a + (b - a) * share for a, b in zip(start, end, strict=True)), 1)
        self._mouse("mouseReleased", end, 0)

    def _mouse(self, kind: str, place: tuple[float, ...], buttons: int) -> None:
        self.call(
            "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", buttons=buttons, clickCount=1
        )

    def screenshot(self, *, whole: bool = False) -> bytes:
        """The window, or the whole page, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def pdf(self) -> bytes:
        """The page as it is printed, with its headings as the PDF's outline."""
        printed = self.call(
            "Page.printToPDF", printBackground=True, generateTaggedPDF=True, generateDocumentOutline=True
        )
        return base64.b64decode(printed["data"])

    def close(self) -> None:
        """End the browser."""
        os.close(self._write)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)


@contextmanager
def browser(executable: str, profile: Path) -> Iterator[Browser]:
    """A browser that is ended with the block."""
    opened = Browser(executable, profile)
    try:
        yield opened
    finally:
        opened.close()
