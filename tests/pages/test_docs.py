"""Public names are documented parameter by parameter and stand in the API reference; every page is on the site."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import site_pages
from tests.support.public_names import (
    PRIVATE_MODULES,
    PUBLIC_MODULES,
    Documented,
    documented,
    names_of,
    public_names,
)
from tests.support.repository_files import ROOT, our_files

#: What a page of docs/api shows: `::: nextitem_client.Client`, or a whole module.
SHOWN = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)
#: Errors that are named in prose, which no tool finds.
RAISES_IN_PROSE = re.compile(r"\b[Rr]aises\s+(?:an? )?[A-Z]\w+")


def faults(one: Documented) -> list[str]:
    """What the docstring of a name lacks, and what it describes that is not there."""
    if not one.docstring.strip():
        return [f"{one.name} has no docstring."]
    missing = [name for name in one.parameters if name not in one.described]
    found = [f"{one.name}: the parameter {name} has no line under 'Args:' or 'Attributes:'." for name in missing]
    own = {member.name.rpartition(".")[2] for member in one.members}
    unknown = sorted(one.described - set(one.parameters) - own - set(ATTRIBUTES.get(one.name, ())))
    found += [f"{one.name} describes {name}, which it does not have." for name in unknown]
    if RAISES_IN_PROSE.search(one.docstring):
        found.append(f"{one.name} names what it raises in a sentence: give each error a line under 'Raises:'.")
    return found


#: Attributes that are set in a body and that docstrings describe.
ATTRIBUTES = {
    "nextitem_client.ServerError": ("retryable", "retry_after_s"),
    "nextitem_client.testing.FakeServer": ("requests",),
    "nextitem_server.ModelsFailed": ("reasons",),
    "nextitem_server.TritonServer": ("ports", "notices", "repositories"),
}


def test_every_public_name_is_documented_with_its_parameters():
    found = [fault for name in public_names() for one in name.with_members() for fault in faults(one)]
    assert not found, "\n".join(found)


def test_every_module_of_the_format_is_public_or_named_as_private():
    modules = {f"nextitem_bundle.{path.stem}" for path in (ROOT / "bundle/nextitem_bundle").glob("[!_]*.py")}
    assert modules - {*PUBLIC_MODULES, *PRIVATE_MODULES} == set()


def shown_names() -> set[str]:
    """What the pages of docs/api show; of a module, its public names."""
    pages = (ROOT / "docs/api").glob("*.md")
    shown = {name for page in pages for name in SHOWN.findall(page.read_text(encoding="utf-8"))}
    modules = {name for name in shown if name.rpartition(".")[2].islower() and is_module(name)}
    return shown | {f"{module}.{name}" for module in modules for name in names_of(module)}


def is_module(name: str) -> bool:
    """Whether a module has this path."""
    path = ROOT / name.split(".")[0].removeprefix("nextitem_") / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_the_reference_shows_every_public_name():
    missing = sorted({one.name for one in public_names()} - shown_names())
    assert not missing, f"docs/api shows no {', '.join(missing)}: add a line '::: NAME' to a page there."


def test_the_reference_shows_nothing_else():
    public = {one.name for one in public_names()}
    modules = {name.rpartition(".")[0] for name in public}
    assert shown_names() - public - modules == set()


@pytest.mark.parametrize(
    ("docstring", "parameters", "fault"),
    [
        ("", ("a",), "no docstring"),
        ("Do it.", ("a",), "parameter a has no line"),
        ("Do it.\n\nArgs:\n    a: seconds.\n", ("a", "b"), "parameter b has no line"),
        ("Do it.\n\nArgs:\n    a: seconds.\n    c: more.\n", ("a",), "describes c"),
        ("Do it. Raises ValueError.", (), "under 'Raises:'"),
    ],
)
def test_a_fault_of_a_docstring_is_found(docstring, parameters, fault):
    (found,) = faults(Documented("package.name", docstring, parameters))
    assert fault in found


def test_a_whole_docstring_passes():
    docstring = (
        "Do it.\n\nArgs:\n    a (int): seconds,\n        or more.\n    **b: more.\n\nRaises:\n    ValueError: if not."
    )
    assert faults(Documented("package.name", docstring, ("a", "b"))) == []


def test_names_are_found_where_they_are_defined():
    client = documented("nextitem_client", "Client")
    assert {"url", "timeout_s", "tls"} <= set(client.parameters)
    assert {"recommend_many", "signature"} <= {member.name.rpartition(".")[2] for member in client.members}
    assert documented("nextitem_export", "export_run").parameters[0] == "run"
    assert "width" in documented("nextitem_client", "Head").parameters


def nav_pages() -> list[str]:
    """The pages that mkdocs.yml lists."""
    return site_pages.pages_of_nav(site_pages.read_config(ROOT)["nav"])


def test_every_page_is_in_the_nav():
    pages = {path.relative_to(ROOT).as_posix() for path in our_files() if path.suffix == ".md"}
    missing = sorted(pages - set(nav_pages()))
    assert not missing, f"The nav of mkdocs.yml lacks {', '.join(missing)}."


def test_the_nav_lists_pages_that_are_there_once():
    pages = nav_pages()
    assert sorted(set(pages)) == sorted(pages)
    gone = [page for page in pages if not (ROOT / page).is_file()]
    assert not gone, (
        f"The nav of mkdocs.yml lists {', '.join(gone)}, which is not there: write the page or drop the line."
    )


def stage(target: Path) -> None:
    """Run the command that stages the site's pages."""
    done = subprocess.run(
        [sys.executable, "scripts/site_pages.py", str(target)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sites_pages_have_no_link_that_leaves_the_site(tmp_path):
    stage(tmp_path)
    staged = {path.relative_to(tmp_path / "pages").as_posix() for path in (tmp_path / "pages").rglob("*")}
    assert {"README.md", "docs/training.md", "client/README.md", "docs/monitoring.png"} <= staged
    for page in (tmp_path / "pages").rglob("*.md"):
        for target in site_pages.links_of(page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                assert (page.parent / target.split("#")[0]).is_file(), f"{page} links to {target}"


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="zensical and mkdocstrings run on Python 3.11 and newer")
def test_the_site_builds(tmp_path):
    stage(tmp_path)
    command = [
        Path(sys.executable).with_name("zensical"),
        "build",
        "--strict",
        "--config-file",
        tmp_path / "mkdocs.yml",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "griffe:" not in done.stdout + done.stderr
    reference = (tmp_path / "site/docs/api/client/index.html").read_text(encoding="utf-8")
    assert 'id="nextitem_client.Client.recommend_many"' in reference
    assert "seconds for one request to the server" in reference


def test_links_to_sources_lead_to_the_repository():
    repository = "https://example.org/shop/nextitem/"
    pages = {"README.md", "docs/a.md", "docs/training.md", "client/README.md"}
    text = "[a](../client) [b](../client/README.md#x) [c](../client/nextitem_client/cli.py#L3) [d](training.md) `[e](x.py)`"
    found = site_pages.with_site_links(text, Path("docs/a.md"), pages, repository, ROOT)
    source = "https://example.org/shop/nextitem/blob/main/client/nextitem_client/cli.py#L3"
    assert found == f"[a](../client/README.md) [b](../client/README.md#x) [c]({source}) [d](training.md) `[e](x.py)`"


def test_blocks_of_code_keep_their_text():
    text = "```\n[a](../cli.py)\n```\n"
    assert site_pages.with_site_links(text, Path("docs/a.md"), set(), "https://example.org", ROOT) == text


def test_a_link_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"docs/a\.md links to gone\.py, which is not in the repository"):
        site_pages.with_site_links("[a](gone.py)", Path("docs/a.md"), set(), "https://example.org", ROOT)
