"""A real browser without a window, spoken to by Chrome's DevTools protocol over two pipes: Debian's package `chromium`."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_S = 60


def find() -> str | None:
    """The browser's path, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Browser:
    """A running browser. Messages are JSON, each followed by a zero byte."""

    to_browser: int
    from_browser: int
    last_id: int = 0
    buffer: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    def command(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its result; what happens meanwhile goes to `events`."""
        self.last_id += 1
        message = {"id": self.last_id, "method": method, "params": parameters}
        os.write(self.to_browser, json.dumps(message | ({"sessionId": session} if session else {})).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def wait_for(self, method: str, session: str) -> None:
        """Waits for an event, which may have come already."""
        while not any(e["method"] == method and e.get("sessionId") == session for e in self.events):
            self.receive()

    def receive(self) -> dict[str, Any]:
        end = time.monotonic() + TIMEOUT_S
        while b"\0" not in self.buffer:
            if not select.select([self.from_browser], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"the browser said nothing for {TIMEOUT_S} s")
            data = os.read(self.from_browser, 1 << 20)
            if not data:
                raise RuntimeError("the browser ended")
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        answer = json.loads(message)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def open(self, address: str, width: int, height: int = 900, dark: bool = False, scale: float = 1) -> Page:
        """Loads a page in a window of so many CSS pixels; scale: pixels of a screenshot for each of them."""
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.command(f"{domain}.enable")
        page.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.command("Emulation.setEmulatedMedia", features=[scheme])
        if error := page.command("Page.navigate", url=address).get("errorText"):
            raise RuntimeError(f"{address}: {error}")
        self.wait_for("Page.loadEventFired", session)
        page.run("document.fonts.ready.then(() => new Promise(requestAnimationFrame)).then(() => 1)")
        return page


@dataclass
class Page:
    """One page in a browser."""

    browser: Browser
    session: str

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.command(method, self.session, **parameters)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        result = self.command("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def events(self, method: str) -> list[dict[str, Any]]:
        return [
            e["params"] for e in self.browser.events if e["method"] == method and e.get("sessionId") == self.session
        ]

    def complaints(self) -> list[str]:
        """What the page's console has, but mere logs."""
        self.run("0")  # what has happened so far has come when this has
        thrown = [event["exceptionDetails"]["text"] for event in self.events("Runtime.exceptionThrown")]
        calls = [event for event in self.events("Runtime.consoleAPICalled") if event["type"] in ("error", "warning")]
        output = [" ".join(str(arg.get("value")) for arg in call["args"]) for call in calls]
        entries = [event["entry"] for event in self.events("Log.entryAdded")]
        return thrown + output + [entry["text"] for entry in entries if entry["level"] in ("error", "warning")]

    def requests(self) -> list[str]:
        """Every address that the page asked for, itself included, but data that stand in it."""
        self.run("0")
        addresses = [event["request"]["url"] for event in self.events("Network.requestWillBeSent")]
        return [address for address in addresses if not address.startswith("data:")]

    def screenshot(self, height: float | None = None) -> bytes:
        """A PNG of the page's upper `height` CSS pixels, or of the window."""
        clip = {}
        if height:
            width = self.run("innerWidth")
            clip = {"clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}}
        shot = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, **clip)
        return base64.b64decode(shot["data"])


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, with a profile of its own that is thrown away."""
    path = find()
    if path is None:
        raise FileNotFoundError(f"no browser: none of {', '.join(NAMES)}; Debian's package is chromium")
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # It reads its descriptor 3 and writes its descriptor 4.
    above = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
    places = "import os, sys; [os.dup2(int(a), b) for a, b in zip(sys.argv[1:3], (3, 4))]; os.execv(sys.argv[3], sys.argv[3:])"
    options = ["--headless", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    options += ["--no-sandbox"] if os.geteuid() == 0 else []  # as root it does not start otherwise
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        started = subprocess.Popen(
            [sys.executable, "-c", places, *map(str, above), path, *options, f"--user-data-dir={profile}"],
            pass_fds=above,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *above):
            os.close(end)
        try:
            yield Browser(ours_out, ours_in)
        finally:
            started.terminate()
            started.wait()
            os.close(ours_out)
            os.close(ours_in)


CUT_TEXT = """
(() => {
  const found = [], most = document.documentElement.clientWidth;
  const tell = (what, node) => found.push(what + ": " + node.textContent.trim().slice(0, 60));
  document.querySelectorAll("details").forEach(each => each.open = true);
  const scrolls = style => ["auto", "scroll"].includes(style.overflowX);
  const hides = style => ["hidden", "clip"].includes(style.overflowX);
  if (document.documentElement.scrollWidth > most)
    found.push("the page is " + document.documentElement.scrollWidth + " pixels wide, not " + most);
  for (const svg of document.querySelectorAll("svg")) {
    const whole = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const box = text.getBoundingClientRect();
      if (box.left < whole.left - 1 || box.right > whole.right + 1 || box.top < whole.top - 1 || box.bottom > whole.bottom + 1)
        tell("cut by its figure", text);
    }
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("svg, script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      let inside = false;  // something that scrolls
      for (let around = parent; around && !inside; around = around.parentElement) {
        const style = getComputedStyle(around), edge = around.getBoundingClientRect();
        inside = scrolls(style);
        const over = box.left < edge.left - 1 || box.right > edge.right + 1;
        if (over && hides(style)) tell("cut", node);
        else if (over && !inside && style.display !== "inline" && !["HTML", "BODY"].includes(around.tagName))
          tell("runs out of its " + around.tagName.toLowerCase(), node);
      }
      if (!inside && (box.left < -1 || box.right > most + 1)) tell("outside the window", node);
    }
  }
  return [...new Set(found)];
})()
"""
FAINT_TEXT = """
(() => {
  const found = new Set(), paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const pixel = colours => {
    paint.clearRect(0, 0, 1, 1);
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3).map(v => v / 255);
  };
  const light = rgb => rgb.map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; node = walker.nextNode();) {
    const parent = node.parentElement;
    if (!node.textContent.trim() || parent.closest("script, style")) continue;
    const behind = [];
    for (let around = parent; around; around = around.parentElement) behind.unshift(getComputedStyle(around).backgroundColor);
    const style = getComputedStyle(parent), colour = parent.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(pixel(behind)), light(pixel([...behind, colour]))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 3) found.add("contrast " + contrast.toFixed(1) + ": " + node.textContent.trim().slice(0, 60));
  }
  return [...found];
})()
"""
