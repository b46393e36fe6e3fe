"""Listens on the pager's port until Alertmanager sends a page, and prints its body."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        if self.path == "/page":
            print(json.dumps(json.loads(body), indent=2))
            self.server.done = True


server = HTTPServer(("127.0.0.1", 8003), Receiver)
server.done = False
while not server.done:
    server.handle_request()
