"""Switching a bundle to another of its versions: vocabulary, weights and configuration of all its models at once.

In steady state each model is pinned to the version that answers. For a switch the steps are pinned to both versions, so that
requests of the old one find its steps until they are done; then the configuration of the model that clients call is replaced,
which is the switch; then the steps are pinned to the new version alone. Whatever is interrupted leaves a repository that
answers with one version.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nextitem_bundle.checksums import verify
from nextitem_bundle.config import pinned_to
from nextitem_bundle.errors import BundleError
from nextitem_bundle.lock import locked
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.versions import CONFIG, active_version, prune, versions_of

from ._errors import ControlError, RepositoryError, repository_errors
from .control import ModelControl
from .options import KEEP_VERSIONS


@dataclasses.dataclass(frozen=True)
class Activation:
    """What an activation has done.

    Attributes:
        name: the bundle.
        version: the version that is active now.
        before: the version that was active before.
        pruned: the versions that were removed.
    """

    name: str
    version: int
    before: int
    pruned: tuple[int, ...]


def activate_bundle(
    repository: str | Path,
    name: str,
    version: int | None = None,
    *,
    url: str | None = None,
    key: str | None = None,
    keep_versions: int = KEEP_VERSIONS,
    progress: Callable[[str], None] = lambda _: None,
) -> Activation:
    """Activate a version of a bundle: a new one, or an older one for a rollback.

    One change of a bundle is made at a time: while another export or activation of it runs, this call waits.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        version: the version to activate. None: the newest in the repository.
        url: a running server of this repository, `http://host:8000`, which switches without failing a request. None:
            the version answers from the next start on.
        key: the server's control key.
        keep_versions: versions that stay in the repository, the active one included.
        progress: called with a sentence before each stage.

    Returns:
        The versions that were switched and removed.

    Raises:
        RepositoryError: the repository has no such version, or a file is not the one that was exported.
        ControlError: the server cannot be switched. The version that answered before goes on answering.
    """
    repository = Path(repository)
    control = None if url is None else ModelControl(url, key)
    version_that_answers(repository, name)  # before a file is made for the lock
    with repository_errors(), locked(repository, name, progress):
        before = version_that_answers(repository, name)
        target = _target(repository, name, version)
        progress(f"comparing the files of version {target} with their checksums")
        _verify(repository, name, target)
        running = () if control is None else _running(control, repository, name)
        _take_availability_along(repository, name, before, target)
        manifest = read_manifest(repository, name, target)
        _Switch(repository, manifest.models, manifest.request, before, target, running, control, progress).run()
        return Activation(name, target, before, tuple(prune(repository, name, keep_versions)))


def version_that_answers(repository: Path, name: str) -> int:
    """The version that answers. Raises RepositoryError where there is no such bundle."""
    active = active_version(repository, name)
    if active is None:
        raise RepositoryError(
            f"{repository} holds no bundle '{name}' that is pinned to a version: export one into it first"
        )
    return active


def _target(repository: Path, name: str, version: int | None) -> int:
    there = versions_of(repository, name)
    target = version if version is not None else max(there, default=0)
    if target not in there:
        raise RepositoryError(
            f"{repository / name} has no version {target}, there are {', '.join(map(str, there)) or 'none'}: older ones are "
            "kept as far as activate_bundle(keep_versions=…) says"
        )
    for model in read_manifest(repository, name, target).models:
        if not (repository / model / str(target) / CONFIG).is_file():
            raise RepositoryError(
                f"{repository / model / str(target)} has no {CONFIG} of its own, so that there is no going to version "
                f"{target}: it was exported before versions were kept, or copied in part. Export it again"
            )
    return target


def _verify(repository: Path, name: str, version: int) -> None:
    try:
        verify(repository, read_manifest(repository, name, version), answers=False)
    except BundleError as error:
        raise RepositoryError(f"{error}. Export or copy the bundle again; nothing was changed") from error


def _running(control: ModelControl, repository: Path, name: str) -> tuple[int, ...]:
    """The version with which the server answers, () for none."""
    control.check()
    running = control.answering(name)
    gone = [version for version in running if version not in versions_of(repository, name)]
    if gone:
        raise ControlError(
            f"the server at {control.url} answers with version {gone[0]} of '{name}', which {repository} has no more: it "
            "serves another repository, or that version was pruned. Start it again to have it serve what is here"
        )
    return running


def _take_availability_along(repository: Path, name: str, before: int, target: int) -> None:
    """The list that acts goes on acting; but a list that was given at the export of a newer version is its own."""
    manifest = read_manifest(repository, name, target)
    if before == target or (target > before and manifest.availability_given):
        return
    for model in manifest.models:
        old, new = (repository / model / str(version) for version in (before, target))
        # One a model, but not in one place: a vocabulary that has grown makes steps of a merged graph.
        for source in old.rglob(AVAILABILITY):
            for place in new.rglob(AVAILABILITY):
                _replace(place, source.read_bytes())


@dataclasses.dataclass(frozen=True)
class _Switch:
    """One switch of the models of a bundle, the one that clients call last.

    request: the signature's part of the target's manifest.
    before: the version that answered by the repository's configuration; running: by the server's, () where there is none.
    """

    repository: Path
    models: tuple[str, ...]
    request: Mapping[str, Any]
    before: int
    target: int
    running: tuple[int, ...]
    control: ModelControl | None
    progress: Callable[[str], None]

    def run(self) -> None:
        """Raises ControlError; then all is as it was."""
        *steps, name = self.models
        old = {model: (self.repository / model / CONFIG).read_bytes() for model in self.models}
        try:
            if self._answers != self.before:  # activated without the server, which is not to change before the switch
                self._configure(name, self._own(name, self._answers))
            for step in steps:
                self._configure(step, pinned_to(self._own(step), {self.before, self.target, self._answers}))
            if steps:
                self._load(name, f"loading version {self.target} beside {self._answers}")
            for step in steps:
                self._check(step)
            self._configure(name, self._own(name))
            self._load(name, f"switching to version {self.target}")
            self._check(name)
            if self.control is not None:
                self.progress(f"asking version {self.target}")
                self.control.ask(name, self.request)
        except BaseException as error:
            self._back(old)
            if isinstance(error, ControlError) and self.target != self._answers:
                raise ControlError(f"{error}; version {self._answers} goes on answering") from error
            raise
        for step in steps:
            self._configure(step, self._own(step))
        if steps:
            self._load(name, f"letting go of version {self._answers}")  # once its requests are answered

    @property
    def _answers(self) -> int:
        return (*self.running, self.before)[0]

    def _own(self, model: str, version: int | None = None) -> bytes:
        """The configuration that comes with a version, the target if none is given."""
        return (self.repository / model / str(version or self.target) / CONFIG).read_bytes()

    def _configure(self, model: str, config: bytes) -> None:
        _replace(self.repository / model / CONFIG, config)

    def _load(self, model: str, what: str) -> None:
        """Of the model that clients call: the server looks at its steps as well, and loads side by side what is new there."""
        self.progress(what)
        if self.control is not None:
            self.control.load(model)

    def _check(self, model: str) -> None:
        """Raise ControlError unless the server has the new version of a model."""
        if self.control is None or self.target in self.control.answering(model):
            return
        if model != self.models[-1]:
            self.control.load(model)  # tells what the load of another model did not: why
        raise ControlError(
            f"the server at {self.control.url} was told to load '{model}' and has no version {self.target} of it: does it "
            f"serve {self.repository}, or a copy of it?"
        )

    def _back(self, old: Mapping[str, bytes]) -> None:
        """Undo what was begun, as far as the server lets us: first the outside, while both versions are there."""
        *steps, name = self.models
        stays = old[name] if self._answers == self.before else self._own(name, self._answers)
        switched = (self.repository / name / CONFIG).read_bytes() != stays
        self._configure(name, stays)
        if switched:
            with contextlib.suppress(ControlError):
                self._load(name, f"going back to version {self._answers}")
        for step in steps:
            same = self._answers == self.before
            self._configure(step, old[step] if same else pinned_to(old[step], {self.before, self._answers}))
        with contextlib.suppress(ControlError):
            self._load(name, f"going on with version {self._answers}")
        if stays != old[name]:
            self._configure(name, old[name])


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    os.replace(beside, path)
