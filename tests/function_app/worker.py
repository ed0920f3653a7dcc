"""Drives Microsoft's own Functions worker library in this process, as the host does in Azure.

The host talks to the worker in protobuf messages; their Python classes are not on the index, so plain records with the
same fields stand in for the messages. Everything that indexes, binds and invokes is Microsoft's.
"""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from azure_functions_runtime import handle_event, native_invocation
from azure_functions_runtime.bindings.datumdef import Datum


class _Record:
    """A message: keeps its fields."""

    def __init__(self, *args: object, **fields: object) -> None:
        self.__dict__.update(fields)


class _BindingInfo(_Record):
    undefined, inout, out = 0, 2, 1


class _StatusResult(_Record):
    Failure, Success = 0, 1


class _Protos:
    BindingInfo, StatusResult = _BindingInfo, _StatusResult

    def __getattr__(self, name: str) -> type[_Record]:
        return type(name, (_Record,), {})


class Worker:
    """A worker that has indexed the function app in ``root``."""

    def __init__(self, root: Path) -> None:
        start = SimpleNamespace(capabilities={}, function_app_directory=str(root))
        request = SimpleNamespace(
            request=SimpleNamespace(worker_init_request=start), properties={"host": "127.0.0.1", "protos": _Protos()}
        )
        response = asyncio.run(handle_event.worker_init_request(request))
        assert response.result.status == _StatusResult.Success, vars(response.result.exception)
        metadata = asyncio.run(handle_event.functions_metadata_request(request))
        self.functions: dict[str, Any] = {f.name: f for f in metadata.function_metadata_results or []}

    def invoke(
        self, function: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Send an HTTP request to a function; returns (status, headers, body)."""
        path, _, query = path.partition("?")
        parameters = dict(part.partition("=")[::2] for part in query.split("&") if part)
        http = {
            "method": Datum(method, "string"),
            "url": Datum(f"https://app.example{path}" + (f"?{query}" if query else ""), "string"),
            "headers": {k: Datum(v, "string") for k, v in (headers or {}).items()},
            "query": {k: Datum(v, "string") for k, v in parameters.items()},
            "params": {},
            "body": Datum(body, "bytes"),
        }
        identity = self.functions[function].function_id
        ok, answer, _, error, trace = asyncio.run(
            native_invocation.invocation_request_native("call", identity, [("req", Datum(http, "http"))], {})
        )
        assert ok, f"{error}\n{trace}"
        values = answer.value
        return (
            int(values["status_code"].value),
            {k.lower(): v.value for k, v in values["headers"].items()},
            values["body"].value,
        )
