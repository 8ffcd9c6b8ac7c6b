"""BaseClient: all that Client and AsyncClient do apart from I/O."""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nextitem_bundle.signature import PARAMETER, Signature
from nextitem_client._exceptions import (
    AmbiguousModel,
    ClientClosed,
    InvalidOption,
    InvalidSession,
    ModelNotFound,
    NotANextItemModel,
    RequestRejected,
    ServerError,
)
from nextitem_client._flow import Flow, repeated
from nextitem_client._settings import Settings
from nextitem_client._signature import parse_signature
from nextitem_client._transport import Inference, Reply, check_tls
from nextitem_client._transport.address import parse_url
from nextitem_client._wire import Session, build_requests
from nextitem_client._wire.filters import read_filters
from nextitem_client._wire.response import OUTPUTS, Recommendation, read_response

_WHY_NOT_LOADED = (
    "the server's log says why it did not load; with --model-control-mode=explicit it has to be loaded first."
)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,256}")  # what a log line can hold without quoting


@dataclass(frozen=True)
class _Found:
    """The model that a client asks. signatures: by the version that answered; `signature` is that of the latest."""

    model: str
    signature: Signature
    signatures: Mapping[str, Signature]


_CONNECTIONS = ("_transport", "_process", "_ways")


class BaseClient:
    """Checks arguments, builds requests, reads responses, repeats and words errors; does no I/O."""

    def __init__(self, url: str, model: str | None, settings: Settings):
        self._address = parse_url(url)
        self._settings = settings
        self._wanted = model
        self._found: _Found | None = None
        self._closed = False
        check_tls(self._address, settings)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or a pickle takes along: all but the connections. Headers, and the secrets in them, are part of it."""
        return {name: value for name, value in self.__dict__.items() if name not in _CONNECTIONS}

    @property
    def model(self) -> str:
        """The name of the model that answers.

        Raises:
            ClientClosed: the client was closed before, or is not open yet.
        """
        return self._asked().model

    @property
    def signature(self) -> Signature:
        """The model's features, options and limits.

        Raises:
            ClientClosed: the client was closed before, or is not open yet.
        """
        return self._asked().signature

    def _asked(self) -> _Found:
        self._require_open()
        if self._found is None:
            raise ClientClosed(
                f"The client of {self._address.url} is not open yet: write `async with AsyncClient(…) as client`, "
                "or await client.open()."
            )
        return self._found

    def _require_open(self) -> None:
        if self._closed:
            raise ClientClosed(f"The client of {self._address.url} is closed; make a new {type(self).__name__}.")

    # What is asked of the server, as flows.

    def _opening(self) -> Flow[_Found]:
        model = self._wanted
        if model is None:
            model = self._only_one((yield from self._nextitem_models()))
        try:
            parameters = yield from self._parameters(model)
        except ModelNotFound:
            raise self._not_found(model, (yield from self._nextitem_models())) from None
        signature = self._signature_of(model, parameters)
        return _Found(model, signature, {str(signature.bundle_version): signature})

    def _inference(self, inference: Inference) -> Flow[Reply]:
        try:
            reply: Reply = yield from repeated(self._settings, lambda way, limit: way.infer(inference, limit))
        except ModelNotFound:  # unloaded meanwhile
            raise self._not_found(inference.model, (yield from self._nextitem_models())) from None
        except RequestRejected as error:
            before = self._asked().signature
            yield from self._read_again(None)
            now = self._asked().signature
            if now == before:
                raise
            raise RequestRejected(
                f"{error} The server has changed to version {now.bundle_version} since this client read the signature of "
                f"version {before.bundle_version}; it has been read again: repeat the call."
            ) from None
        found = self._asked()
        if found.signatures.get(reply.model_version) is not found.signature:
            yield from self._read_again(reply.model_version)
        return reply

    def _read_again(self, version: str | None) -> Flow[None]:
        """Take the signature of the version that answered, or the present one where it is not known which would."""
        found = self._asked()
        signature = found.signatures.get(version or "")
        if signature is None:
            try:
                signature = self._signature_of(found.model, (yield from self._parameters(found.model)))
            except ServerError:  # the answer is there, or an error that says more: the next one is another occasion
                return
        answered = version if version is not None else str(signature.bundle_version)
        self._found = _Found(found.model, signature, {**found.signatures, answered: signature})

    def _parameters(self, model: str) -> Flow[Mapping[str, str]]:
        return (yield from repeated(self._settings, lambda way, limit: way.model_parameters(model, limit)))

    def _nextitem_models(self) -> Flow[list[str]]:
        ready = yield from repeated(self._settings, lambda way, limit: way.ready_models(limit))
        names: list[str] = []
        for name in ready:
            try:
                if PARAMETER in (yield from self._parameters(name)):
                    names.append(name)
            except ModelNotFound:  # unloaded since the list was made
                continue
        return names

    # Arguments → requests, replies → answers.

    def _inferences(
        self,
        sessions: Iterable[Session],
        k: int | None,
        exclude: Any,
        allow: Any,
        exclude_seen: Any,
        request_id: str | None,
        *,
        one: bool = False,
    ) -> list[Inference]:
        if isinstance(sessions, (Mapping, str, bytes)):
            raise InvalidSession(
                "recommend_many() expects a list of sessions, what came is a single mapping or text. "
                "For one session call recommend()."
            )
        found = self._asked()
        signature, asked = found.signature, list(sessions)
        filters = read_filters(signature, len(asked), exclude, allow, exclude_seen, one)
        base = _checked_id(request_id)
        requests = list(build_requests(asked, signature, k, filters))
        ids = [base] if len(requests) == 1 else [f"{base}-{number}" for number in range(len(requests))]
        outputs = (*OUTPUTS, *(head.name for head in signature.heads))
        return [Inference(found.model, tensors, outputs, one_id) for tensors, one_id in zip(requests, ids)]

    def _recommendations(self, reply: Reply, inference: Inference) -> list[Recommendation]:
        sessions = inference.inputs["session_length"].shape[0]
        heads = inference.outputs[len(OUTPUTS) :]
        return read_response(reply.tensors, sessions, inference.model, reply.model_version, inference.request_id, heads)

    def _signature_of(self, model: str, parameters: Mapping[str, str]) -> Signature:
        document = parameters.get(PARAMETER)
        if document is None:
            raise NotANextItemModel(
                f"Model {model} at {self._address.url} has no {PARAMETER} in its configuration: it "
                "was not exported by nextitem-export, or is a step of a bundle. Name the bundle."
            )
        return parse_signature(document, model)

    def _not_found(self, model: str, present: list[str]) -> ModelNotFound:
        listed = ", ".join(present) if present else "none"
        near = difflib.get_close_matches(model, present, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        return ModelNotFound(
            f"The server at {self._address.url} has no ready model {model}{hint}; ready nextitem models: {listed}. "
            f"If it should be there, {_WHY_NOT_LOADED}"
        )

    def _only_one(self, names: list[str]) -> str:
        if not names:
            raise ModelNotFound(
                f"The server at {self._address.url} has no ready nextitem model. Export one into "
                f"its repository with nextitem-export and start it again. If one is there, {_WHY_NOT_LOADED}"
            )
        if len(names) > 1:
            raise AmbiguousModel(
                f"The server at {self._address.url} has several nextitem models: "
                f"{', '.join(names)}. Say which: model={names[0]!r} (--model {names[0]})."
            )
        return names[0]


def _checked_id(request_id: Any) -> str:
    if request_id is None:
        return uuid.uuid4().hex
    if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
        return request_id
    raise InvalidOption(
        f"request_id is {request_id!r}; expected are 1 to 256 letters, digits and signs of ASCII without blanks."
    )
