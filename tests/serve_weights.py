"""Serves a folder on 127.0.0.1, badly on request. Prints its port, runs until killed, logs every request.

usage: serve_weights.py FOLDER LOG

/ok/FILE honours ranges, /noranges/FILE ignores them, /truncate/FILE stops half way, /slow/FILE pauses half way,
/nolength/FILE stops half way without having said how much there is, /redirect/FILE leads to /ok/FILE,
/huge/FILE promises 2 GiB.
"""
import http.server
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with open(sys.argv[2], "a") as log:
            log.write("%s %s\n" % (self.path, self.headers.get("Range", "-")))
        _, mode, name = self.path.split("/", 2)
        if mode == "redirect":
            self.send_response(302)
            self.send_header("Location", "/ok/" + name)
            self.end_headers()
            return
        try:
            with open(sys.argv[1] + "/" + name, "rb") as f:
                data = f.read()
        except OSError:
            self.send_error(404)
            return
        begin = 0
        asked = self.headers.get("Range", "")
        if asked and mode != "noranges":
            begin = int(asked[len("bytes="):].rstrip("-"))
            if begin >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", "bytes */%d" % len(data))
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"none")
                return
            self.send_response(206)
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, len(data) - 1, len(data)))
        else:
            self.send_response(200)
        if mode != "nolength":
            self.send_header("Content-Length", str(2 << 30 if mode == "huge" else len(data) - begin))
        self.end_headers()
        half = (begin + len(data)) // 2
        self.wfile.write(data[begin:half])
        if mode in ("truncate", "nolength"):
            return
        if mode == "slow":
            self.wfile.flush()
            time.sleep(5)
        self.wfile.write(data[half:])

    def handle(self):
        try:
            super().handle()
        except ConnectionError:
            pass  # the client stopped, as the tests make it do

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
