"""A headless Chromium, driven over the pipe of its DevTools protocol: no port, no network, no driver to install."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--use-gl=angle", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--no-first-run", "--disable-extensions", "--disable-background-networking",
    "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1440,1000",
    # Whatever the page asked for over a network would fail to resolve.
    "--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9",
)  # fmt: skip


def executable() -> str | None:
    """A Chromium of this machine: `SYNTH_BROWSER`, or what is on the path."""
    named = os.environ.get("SYNTH_BROWSER")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of one browser; `errors` and `requests` collect what the page threw and what it asked for."""

    def __init__(self, program: str, profile: Path, *, flags: tuple[str, ...] = ()) -> None:
        read_commands, self._write = os.pipe()
        self._read, write_answers = os.pipe()

        def hand_over() -> None:
            # Chromium reads commands from descriptor 3 and writes answers to 4.
            commands, answers = os.dup(read_commands), os.dup(write_answers)
            os.dup2(commands, 3)
            os.dup2(answers, 4)

        command = [program, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, preexec_fn=hand_over, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read_commands)
        os.close(write_answers)
        self._buffer, self._number, self._session = b"", 0, None
        self.errors: list[str] = []
        self.requests: list[str] = []
        target = next(t for t in self._call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, page: Path) -> None:
        """Load a page from disk."""
        self._call("Page.navigate", url=page.resolve().as_uri())

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is; a promise is awaited."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"].get("exception", {}).get("description", str(found)))
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 120.0) -> Any:
        """The expression's value as soon as it is truthy."""
        return self._until(lambda: self.value(expression), expression, seconds)

    def click(self, selector: str) -> None:
        """Press and release the left button in the middle of an element."""
        where = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{where}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"(r => [r.x + r.width / 2, r.y + r.height / 2])({where}.getBoundingClientRect())")
        self.press(box[0], box[1])

    def press(self, x: float, y: float) -> None:
        """Press and release the left button at a point of the window."""
        at: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, **at)

    def picture(self, selector: str | None = None) -> NDArray[np.uint8]:
        """(rows, columns, 3): the window, or the part of it where an element is."""
        shot = self._call("Page.captureScreenshot", format="png")
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        if selector is None:
            return np.asarray(image)
        box = f"(r => [r.left, r.top, r.right, r.bottom])(document.querySelector({json.dumps(selector)})"
        return np.asarray(image.crop([round(v) for v in self.value(f"{box}.getBoundingClientRect())")]))

    def close(self) -> None:
        """End the browser."""
        try:
            self._send("Browser.close")
            self._process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def _until(self, ask: Callable[[], Any], what: str, seconds: float) -> Any:
        end = time.monotonic() + seconds
        while not (answer := ask()):
            if time.monotonic() > end:
                raise AssertionError(f"{what} did not come true in {seconds:g} s; errors: {self.errors}")
            time.sleep(0.1)
        return answer

    def _send(self, method: str, **parameters: Any) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = self._send(method, **parameters)
        while (message := self._receive()).get("id") != number:
            self._note(message)
        if "error" in message:
            raise AssertionError(f"{method}: {message['error']}")
        return dict(message["result"])

    def _receive(self, seconds: float = 180.0) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], seconds)
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                raise AssertionError("the browser does not answer")
            self._buffer += part
        text, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(text))

    def _note(self, message: dict[str, Any]) -> None:
        said = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(said["exceptionDetails"].get("exception", {}).get("description", str(said))[:500])
        if message.get("method") == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(said["entry"]["text"])
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"][:100])
