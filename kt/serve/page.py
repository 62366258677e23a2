"""The page at `/` of the server: static files that load nothing from elsewhere, and headers that forbid it."""

import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    # blob: shows the chosen photo from the browser's own memory
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""The headers of every file of the page: only its own scripts, styles and requests, no frames, only the camera."""

_FILES = Path(__file__).parent / "page"
_TYPES = mimetypes.MimeTypes(filenames=())  # the machine's own tables may have another type for JavaScript


def page_routes() -> list[Route]:
    """`/`, and `/page/...` for the files that it loads; all are read now, so that an update can't mix two versions."""
    return [_route(file) for file in sorted(_FILES.iterdir())]


def _route(file: Path) -> Route:
    content, media_type = file.read_bytes(), _TYPES.guess_type(file.name)[0]

    async def answer(request: Request) -> Response:
        del request
        return Response(content, media_type=media_type, headers=HEADERS)

    return Route("/" if file.name == "index.html" else f"/page/{file.name}", answer, methods=["GET"])
