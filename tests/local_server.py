"""A local HTTP server that serves, fails and misbehaves as told."""

import contextlib
import http.server
import threading
import types


@contextlib.contextmanager
def serving(pages, resumes=True):
    """Serve {path: bytes, a status, or a function of the request handler} until the context ends.

    Yields the address, and the paths and Range headers (or None) of the requests.
    """
    served = types.SimpleNamespace(paths=[], ranges=[])
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            served.paths.append(self.path)
            served.ranges.append(self.headers.get('Range'))
            page = pages.get(self.path, 404)
            with contextlib.suppress(ConnectionError):
                if isinstance(page, int):
                    self.send_error(page)
                elif callable(page):
                    page(self)
                else:
                    self.send(page, int(self.headers.get('Range', 'bytes=0-')[6:-1]) if resumes else 0)

        def send(self, page, start=0):
            self.head(len(page) - start, 206 if start else 200,
                      **{'Content-Range': f'bytes {start}-{len(page) - 1}/{len(page)}'} if start else {})
            self.wfile.write(page[start:])

        def head(self, length=None, status=200, **headers):
            """Send the head of an answer whose body has `length` bytes, or lasts until the connection ends."""
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if length is not None:
                self.send_header('Content-Length', str(length))
            self.end_headers()

        def pause(self, seconds=20):
            """Wait so long, or until the server is shut down."""
            return ended.wait(seconds)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            served.address = f'http://127.0.0.1:{server.server_port}'
            yield served
        finally:
            ended.set()
            server.shutdown()
