"""A built page in a real browser, opened from disk."""

import html
import re
import shutil
import subprocess

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="no chromium here")]


def browse(profile, *words):
    """Headless, with no network but a proxy that is not there."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    options += ["--proxy-server=127.0.0.1:9", "--virtual-time-budget=5000", "--window-size=1280,900", "--enable-logging=stderr"]
    return subprocess.run([BROWSER, *options, *words], capture_output=True, text=True, timeout=120)


def test_the_page_opens_from_disk_and_its_script_runs(digits, tmp_path):
    _, _, out = digits
    done = browse(tmp_path / "profile", "--dump-dom", (out / "digits.html").as_uri())
    assert done.returncode == 0, done.stderr
    assert "1,797 items" in html.unescape(re.sub(r"<[^>]+>", " ", done.stdout))
    # The page's own script has turned titles into tips that a keyboard reaches, too.
    assert 'id="tip"' not in (out / "digits.html").read_text(encoding="utf-8")
    assert 'id="tip"' in done.stdout
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not [line for line in console if "rror" in line or "Failed" in line]


def test_the_page_shows_something(digits, tmp_path):
    from PIL import Image

    _, _, out = digits
    shot = tmp_path / "page.png"
    done = browse(tmp_path / "profile", f"--screenshot={shot}", (out / "digits.html").as_uri())
    assert shot.is_file(), done.stderr
    image = Image.open(shot).convert("L")
    assert image.size == (1280, 900)
    assert len(image.getcolors(256)) > 50
