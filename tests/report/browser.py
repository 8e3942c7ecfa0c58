"""A headless Chromium that shows a page: findings of axe-core, printed pages, screenshots."""

import base64
import html
import json
import re
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import numpy as np

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

LIGHT, DARK = 1, 0  # Blink's numbers for prefers-color-scheme


def unmet():
    """Return why the page cannot be tested in a browser on this machine, or ""."""
    if CHROMIUM is None:
        return "chromium is not installed"
    if not AXE.exists():
        return "axe-core is not installed: run `make test`, which needs npm"
    if shutil.which("pdftotext") is None:
        return "pdftotext is not installed (Debian: poppler-utils)"
    return ""


def run(page, *options, width=1280, height=2000, scheme=LIGHT):
    """Open ``page`` with a profile of its own and return what Chromium prints."""
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        f"--user-data-dir={page.parent / 'profile'}",
        f"--window-size={width},{height}",
        f"--blink-settings=preferredColorScheme={scheme}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def axe(page, *, width, scheme):
    """Return axe's findings on a page that is ``width`` pixels wide.

    The page lies in a frame, because a window of Chromium is at least 500 pixels wide. The original
    forbids scripts; its copy allows the two that are added.
    """
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    scripts = f"<script>{AXE.read_text()}</script><script>{REPORT}</script></body>"
    page.with_name("copy.html").write_text(text.replace("</body>", scripts))
    frame = page.with_name("frame.html")
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    dom = run(frame, "--virtual-time-budget=20000", "--dump-dom", scheme=scheme)
    return _decoded(re.search(r'data-found="([^"]*)"', dom)[1])


REPORT = """
axe.run(document).then(found => {
  const text = JSON.stringify({
    violations: found.violations.map(rule => [rule.id, rule.impact, rule.nodes.map(n => n.html)]),
    passes: found.passes.length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    width: innerWidth,
    scrolled: document.documentElement.scrollWidth,
  });
  parent.postMessage(btoa(encodeURIComponent(text)), "*");
});
"""

FRAME = """<!doctype html><meta name="color-scheme" content="light dark"><body><script>
onmessage = message => { document.body.dataset.found = message.data };
</script><iframe src="copy.html" width="WIDTH" height="2000" style="border: 0"></iframe>
"""


def _decoded(text):
    return json.loads(urllib.parse.unquote(base64.b64decode(text).decode()))


def printed(page):
    """Return (lines of text, whether anything stands below the last line) of each printed page."""
    pdf = page.with_suffix(".pdf")
    run(page, f"--print-to-pdf={pdf}", "--no-pdf-header-footer")
    command = ["pdftotext", "-bbox-layout", pdf, "-"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    subprocess.run(["pdftoppm", "-r", "36", "-gray", pdf, page.with_name("sheet")], check=True)
    images = sorted(page.parent.glob("sheet-*.pgm"))
    return [
        _sheet(part, image) for part, image in zip(text.split("<page ")[1:], images, strict=True)
    ]


def _sheet(text, image):
    height = float(re.search(r'height="([\d.]+)"', text)[1])
    lines = [
        (
            float(bottom),
            " ".join(html.unescape(word) for word in re.findall(r">(.*)</word>", words)),
        )
        for bottom, words in re.findall(r'<line [^>]*yMax="([\d.]+)">(.*?)</line>', text, re.DOTALL)
    ]
    lines.sort()
    _, size, _, pixels = image.read_bytes().split(b"\n", 3)
    width, rows = map(int, size.split())
    dark = (np.frombuffer(pixels, dtype=np.uint8).reshape(rows, width) < 200).any(axis=1)
    below = lines[-1][0] / height + 0.03 if lines else 0.0  # past the rule below a heading
    return [line for _, line in lines], bool(dark[int(below * rows) :].any())
