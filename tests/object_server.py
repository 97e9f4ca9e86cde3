"""A small server that speaks as much S3 as pyarrow asks for, in this process, so that a test can look into it and disturb it.

Objects lie in memory. A test sees every request in `requests`, and puts a function into `disturb` to answer one otherwise.
"""

import hashlib
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

KEY_ID, SECRET = "AKIATESTKEY", "s3cr3t-never-shown"
PAGE = 3  # objects in one answer of a listing, so that every test reads several


class RefusedError(Exception):
    """An answer that is an error; raise it from `disturb`."""

    def __init__(self, status, code, message="no"):
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


class ObjectServer(ThreadingHTTPServer):
    """The objects of one bucket, at an address of this machine; answers as long as the block lasts."""

    daemon_threads = True

    def __init__(self, bucket="bucket"):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket = bucket
        self.objects, self.uploads, self.requests = {}, {}, []
        self.disturb = lambda method, key, query: None
        self.lock = threading.Lock()

    def __enter__(self):
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *raised):
        self.shutdown()
        self.thread.join()
        self.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def environment(self):
        """What a command needs to find the server, and nothing of this machine's own."""
        return {
            "AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip

    def put(self, key, content):
        """Store an object, as another client would."""
        with self.lock:
            self.objects[key] = (bytes(content), f'"{hashlib.md5(content).hexdigest()}"', time.time())

    def below(self, prefix):
        """Return the contents of the objects below a prefix, by the rest of their names."""
        return {key[len(prefix) :]: found[0] for key, found in self.objects.items() if key.startswith(prefix)}

    def handle_error(self, request, client_address):
        """Say nothing where a client was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._serve()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as the library wants them

    def log_message(self, *arguments):
        """Print nothing."""

    def _serve(self):
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self._body()
        try:
            self.server.requests.append((self.command, key, query, self.headers.get("Range")))
            self.server.disturb(self.command, key, query)
            if f"Credential={KEY_ID}/" not in self.headers.get("Authorization", ""):
                raise RefusedError(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
            if bucket != self.server.bucket:
                raise RefusedError(404, "NoSuchBucket", "The specified bucket does not exist")
            self._answer(*getattr(self, f"_{self.command.lower()}")(key, query, body))
        except RefusedError as error:
            self._answer(error.status, f"<Error><Code>{error.code}</Code><Message>{error.message}</Message></Error>".encode())

    def _body(self):
        """Read what was sent; the client may send it in signed chunks."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return body
        plain = b""
        while match := re.match(rb"([0-9a-fA-F]+)[^\r]*\r\n", body):
            size = int(match[1], 16)
            plain += body[match.end() : match.end() + size]
            body = body[match.end() + size + 2 :]
            if not size:
                break
        return plain

    def _answer(self, status, body=b"", headers=None, length=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _found(self, key):
        try:
            return self.server.objects[key]
        except KeyError:
            raise RefusedError(404, "NoSuchKey", "The specified key does not exist.") from None

    def _head(self, key, query, body):
        if not key:
            return 200, b"", {"x-amz-bucket-region": "us-east-1"}
        content, tag, changed = self._found(key)
        return 200, b"", {"ETag": tag, "Last-Modified": formatdate(changed, usegmt=True)}, len(content)

    def _get(self, key, query, body):
        if not key:
            return 200, self._listing(query)
        content, tag, changed = self._found(key)
        headers = {"ETag": tag, "Last-Modified": formatdate(changed, usegmt=True)}
        if match := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, stop = int(match[1]), min(int(match[2]) + 1, len(content))
            if start >= len(content):
                raise RefusedError(416, "InvalidRange")
            return 206, content[start:stop], headers | {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        return 200, content, headers

    def _listing(self, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most, after = min(int(query.get("max-keys", PAGE)), PAGE), query.get("continuation-token", "")
        entries = {}  # in the order of their names: an object, or a folder of which nothing more is said
        for key in sorted(self.server.objects):
            rest = key.removeprefix(prefix)
            if key.startswith(prefix):
                cut = rest.find(delimiter) if delimiter else -1
                entries.setdefault(key if cut < 0 else prefix + rest[: cut + len(delimiter)], cut < 0)
        names = [name for name in entries if name > after]
        page, more = names[:most], len(names) > most
        xml = "".join(self._entry(name, is_object=entries[name]) for name in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        head = f"<Name>{self.server.bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        return (
            f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{head}<MaxKeys>{most}</MaxKeys>'
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{xml}</ListBucketResult>"
        ).encode()

    def _entry(self, name, is_object):
        if not is_object:
            return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        content, tag, changed = self.server.objects[name]
        when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(changed))
        return (
            f"<Contents><Key>{escape(name)}</Key><LastModified>{when}</LastModified><ETag>{escape(tag)}</ETag>"
            f"<Size>{len(content)}</Size></Contents>"
        )

    def _put(self, key, query, body):
        if "uploadId" in query:
            self.server.uploads[query["uploadId"]][int(query["partNumber"])] = body
        elif key:
            self.server.put(key, body)
        return 200, b"", {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}

    def _post(self, key, query, body):
        if "uploads" in query:
            number = str(len(self.server.uploads) + 1)
            self.server.uploads[number] = {}
            return 200, f"<InitiateMultipartUploadResult><UploadId>{number}</UploadId></InitiateMultipartUploadResult>".encode()
        if "uploadId" in query:
            parts = self.server.uploads.pop(query["uploadId"])
            self.server.put(key, b"".join(parts[number] for number in sorted(parts)))
            return 200, b'<CompleteMultipartUploadResult><ETag>"many"</ETag></CompleteMultipartUploadResult>'
        for name in re.findall(rb"<Key>(.*?)</Key>", body):
            self.server.objects.pop(name.decode(), None)
        return 200, b"<DeleteResult></DeleteResult>"

    def _delete(self, key, query, body):
        if "uploadId" in query:
            self.server.uploads.pop(query["uploadId"], None)
        else:
            self.server.objects.pop(key, None)
        return 204, b""
