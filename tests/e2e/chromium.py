"""The Chromium that browser tests and measurements look through: the system's, else Playwright's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = "no Chromium: install the package chromium, or run `playwright install chromium`"


def find_chromium(playwright: Playwright) -> str | None:
    """Its path; None where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), playwright.chromium.executable_path)
    return found if Path(found).exists() else None


def launch(playwright: Playwright, path: str) -> Browser:
    # Chromium's own sandbox refuses root.
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"] if is_root else [])
