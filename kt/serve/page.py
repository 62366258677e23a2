"""The page at `/` of the server: static files that need nothing from elsewhere, and headers that allow no more."""

import mimetypes
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    # blob: the photo that is being asked about, which never leaves the browser for that
    "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
"""Of every file of the page: only its own scripts, styles and requests, no frame around it, the camera at most."""

_FILES = Path(__file__).parent / "page"
_TYPES = mimetypes.MimeTypes(filenames=())  # what the machine's own tables call JavaScript may be something else


def page_routes() -> list[Route]:
    """`/`, and `/page/...` for what it loads; read now, so that an update on the disk can't mix two versions."""
    return [_route(file) for file in sorted(_FILES.iterdir())]


def _route(file: Path) -> Route:
    content, media_type = file.read_bytes(), _TYPES.guess_type(file.name)[0]

    async def answer(request: Request) -> Response:
        del request
        return Response(content, media_type=media_type, headers=HEADERS)

    return Route("/" if file.name == "index.html" else f"/page/{file.name}", answer, methods=["GET"])
