"""Builds responses from encoded bodies: gzip or not, 200 or 304."""

from typing import Final

from ff_proxy.http.headers import Headers
from ff_proxy.http.negotiate import accepts_gzip, unchanged
from ff_proxy.http.response import JSON, Fields, Response
from ff_proxy.snapshots.encoded_body import EncodedBody

CACHE: Final = (b"Cache-Control", b"private, no-cache")
_GZIP: Final = (b"Content-Encoding", b"gzip")

Form = tuple[bool, bool]
"""Whether the response is compressed, and whether it is a 304."""


def form_of(body: EncodedBody, headers: Headers) -> Form:
    """The form that a request with these headers gets."""
    return takes(body, headers), unchanged(headers.get(b"if-none-match"), body.etag)


def takes(body: EncodedBody, headers: Headers) -> bool:
    """Whether a request with these headers gets the compressed form."""
    return accepts_gzip(headers.get(b"accept-encoding")) and body.gzip is not None


def encoded_response(
    body: EncodedBody, form: Form, *fields: tuple[bytes, bytes], shared: bool = False
) -> Response:
    """The response for ``body`` in that form, with extra ``fields``; ``shared`` as for ``Response``."""
    zipped, same = form
    # The compressed form has different bytes, so it may share only a weak ETag (RFC 9110 §8.8.3.3).
    tag = (b"Etag", b"W/" + body.etag if zipped else body.etag)
    if same:
        return Response(304, (tag, CACHE, *fields))
    content = body.gzip if zipped and body.gzip is not None else body.content
    length = (b"Content-Length", b"%d" % len(content))
    coding: Fields = (_GZIP,) if zipped else ()
    return Response(200, (JSON, length, *coding, tag, CACHE, *fields), content, shared=shared)
