"""Stages the pages of the documentation site; `make docs` builds the site from them.

python scripts/site_pages.py FOLDER      writes mkdocs.yml, pages/ and links to the five packages into FOLDER, a new folder

The site mirrors the repository: a page keeps its path, so that links between pages and to pictures work on a forge and on
the site alike. A link to a folder leads to the folder's README.md if the site has it. A link to any other file leads to
the file in the repository, whose address is `repo_url` in mkdocs.yml. docs/decisions/0026-the-site.md says why.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bundle", "training", "export", "server", "client")
#: Where a forge shows a file or folder, below `repo_url`.
SOURCES = "blob/main"
#: Text that is no link whatever stands in it: fenced blocks and `code`.
CODE = re.compile(
    r"^(?P<fence>```|~~~).*?^(?P=fence)|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"(?P<image>!?)(?P<text>\[[^\]]*\])\((?P<target>[^)\s]+)(?P<title>\s[^)]*)?\)")


def read_config(root: Path) -> dict[str, Any]:
    """mkdocs.yml."""
    return yaml.safe_load((root / "mkdocs.yml").read_text(encoding="utf-8"))


def pages_of_nav(nav: Any) -> list[str]:
    """The paths of all pages, in the nav's order."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, Mapping) else nav
    return [page for part in parts for page in pages_of_nav(part)]


def prose_links(text: str) -> Iterator[re.Match[str]]:
    """The links of a page that are not in code."""
    code = [match.span() for match in CODE.finditer(text)]
    for match in LINK.finditer(text):
        if not any(start <= match.start() < end for start, end in code):
            yield match


def links_of(text: str) -> list[str]:
    """The targets of a page's links and pictures."""
    return [match["target"] for match in prose_links(text)]


def site_target(target: str, page: Path, pages: Collection[str], repo_url: str, root: Path) -> str:
    """The target of a link as the site has it; raises ValueError where it names no file."""
    path, hash_sign, part = target.partition("#")
    if not path or re.match(r"[a-z][a-z0-9+.-]*:", target):
        return target
    named = Path(os.path.normpath(page.parent / path))
    if named.is_absolute() or named.parts[:1] == ("..",) or not (root / named).exists():
        raise ValueError(f"{page} links to {target}, which is not in the repository: correct or drop the link.")
    readme = named / "README.md"
    if named.as_posix() in pages:
        return target
    if readme.as_posix() in pages:
        return Path(os.path.relpath(readme, page.parent)).as_posix() + hash_sign + part
    return f"{repo_url.rstrip('/')}/{SOURCES}/{named.as_posix()}{hash_sign}{part}"


def with_site_links(text: str, page: Path, pages: Collection[str], repo_url: str, root: Path) -> str:
    """A page's text with the links that the site has; pictures stay as they are. Raises ValueError as `site_target`."""
    parts, end = [], 0
    for match in prose_links(text):
        if not match["image"]:
            start, stop = match.span("target")
            parts += [text[end:start], site_target(match["target"], page, pages, repo_url, root)]
            end = stop
    return "".join([*parts, text[end:]])


def pictures_of(text: str, page: Path) -> set[Path]:
    """The files that a page shows, by their paths in the repository."""
    shown = [match["target"] for match in prose_links(text) if match["image"]]
    return {Path(os.path.normpath(page.parent / path)) for path in shown if "://" not in path}


def stage(folder: Path, root: Path = ROOT) -> int:
    """Write what the site is built from; returns the number of pages. Raises ValueError for a broken link or nav."""
    config = read_config(root)
    pages = pages_of_nav(config["nav"])
    (folder / "pages").mkdir(parents=True)
    shutil.copyfile(root / "mkdocs.yml", folder / "mkdocs.yml")
    for package in PACKAGES:
        (folder / package).symlink_to(root / package)
    pictures: set[Path] = set()
    for page in map(Path, pages):
        if not (root / page).is_file():
            raise ValueError(
                f"The nav of mkdocs.yml lists {page}, which is not there: write the page or drop the line."
            )
        text = (root / page).read_text(encoding="utf-8")
        pictures |= pictures_of(text, page)
        place = folder / "pages" / page
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(with_site_links(text, page, pages, config["repo_url"], root), encoding="utf-8")
    for picture in pictures:
        (folder / "pages" / picture.parent).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / picture, folder / "pages" / picture)
    return len(pages)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where to; must not exist yet, or be empty")
    folder: Path = parser.parse_args().folder
    if folder.exists() and any(folder.iterdir()):
        print(f"{folder} is not empty: remove it, or name another folder.", file=sys.stderr)
        return 2
    try:
        count = stage(folder)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} pages staged in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
