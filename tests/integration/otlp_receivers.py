"""Real OTLP receivers on the loopback, which behave as they are told."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped] # grpcio is published without types
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Answer = Callable[[list[Span]], tuple[int, ExportTraceServiceResponse]]


def spans_of(request: ExportTraceServiceRequest) -> list[Span]:
    """The spans of a request, in its order."""
    return [
        span
        for resource_spans in request.resource_spans
        for scope_spans in resource_spans.scope_spans
        for span in scope_spans.spans
    ]


class HttpReceiver:
    """Takes OTLP/HTTP; `answer` decides the status and body, 200 meaning that the spans are kept.

    With an `authorization` it answers 401 to who does not send that, and counts them as `strangers`.
    """

    def __init__(self, port: int = 0) -> None:
        self.answer: Answer = lambda spans: (200, ExportTraceServiceResponse())
        self.spans: list[Span] = []
        self.requests: list[ExportTraceServiceRequest] = []
        self.arrived: list[float] = []  # when each of them did, by CLOCK_MONOTONIC
        self.headers: list[dict[str, str]] = []
        self.asked = threading.Event()
        self.authorization: str | None = None
        self.strangers = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.take(self)

            def log_message(self, *args: Any) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False  # a handler that hangs is left behind

            def handle_error(self, *args: Any) -> None:
                """A client that hangs up while we make it wait is what some tests are about."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def names(self) -> list[str]:
        """Names of the kept spans, in the order of their arrival."""
        return [span.name for span in self.spans]

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        """One request is answered."""
        body = handler.rfile.read(int(handler.headers["content-length"]))
        self.asked.set()
        if handler.path != "/v1/traces":
            handler.send_error(404)
            return
        if self.authorization not in (None, handler.headers["authorization"]):
            self.strangers += 1
            handler.send_error(401)
            return
        request = ExportTraceServiceRequest.FromString(body)
        status, response = self.answer(spans_of(request))
        if status == 200:
            self.headers.append({name.lower(): value for name, value in handler.headers.items()})
            self.arrived.append(time.monotonic())
            self.requests.append(request)
            self.spans.extend(spans_of(request))
        payload = response.SerializeToString()
        handler.send_response(status)
        handler.send_header("content-type", "application/x-protobuf")
        handler.send_header("content-length", str(len(payload)))
        handler.end_headers()
        handler.wfile.write(payload)

    def close(self) -> None:
        """Nobody listens any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class GrpcReceiver(TraceServiceServicer):
    """Takes OTLP/gRPC; with a `refusal` it answers that status code."""

    def __init__(self) -> None:
        self.refusal: grpc.StatusCode | None = None
        self.spans: list[Span] = []
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call] # generated code
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def names(self) -> list[str]:
        """Names of the kept spans, in the order of their arrival."""
        return [span.name for span in self.spans]

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 # the service's name
        """The spans are kept, or refused."""
        if self.refusal is not None:
            context.abort(self.refusal, "as told")
        self.spans.extend(spans_of(request))
        return ExportTraceServiceResponse()

    def close(self) -> None:
        """Nobody listens any more."""
        self._server.stop(None).wait()
