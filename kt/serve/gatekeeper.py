"""Checks of the key, the host and the rate of requests, for REST and gRPC alike."""

import hmac
import ipaddress

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from kt.serve.refusal import Code, Refusal, plain_reason
from kt.serve.settings import Settings


class Gatekeeper:
    """Refuses clients without the key (401), for another host (403), and those that ask too often (429)."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.encode()
        self._local = is_loopback(settings.host)
        self._hosts = {_bare(name) for name in (*settings.hosts, settings.host)}
        self._any_host = "*" in settings.hosts or not (self._local or settings.hosts)
        self._rate = RateLimitItemPerSecond(settings.limits.rate) if settings.limits.rate else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check_rate(self, client: str) -> None:
        """Count a request of a client. Raises Refusal if it has sent too many."""
        if self._rate is not None and not self._limiter.hit(self._rate, client):
            raise Refusal(
                Code.RESOURCE_EXHAUSTED, f"More than {self._rate.amount} requests a second; try again in a second"
            )

    def check_host(self, header: bytes) -> None:
        """Refuse a request whose Host header names another server.

        A web page can make its own name resolve to this machine, and then read the answers of a server that listens
        for this machine alone (DNS rebinding). The browser sends the page's name in the Host header.
        """
        if self._any_host or not header:  # every browser sends one
            return
        name = _bare(header.decode("latin-1"))
        if name in self._hosts or is_loopback(name) or (not self._local and _is_address(name)):
            return
        shown = plain_reason(name, most=80)
        raise Refusal(
            Code.PERMISSION_DENIED, f"This server does not answer for the host {shown}; --allow-host {shown} allows it"
        )

    def check_key(self, *, authorization: bytes, api_key: bytes) -> None:
        """Compare the key of `Authorization: Bearer KEY` or `X-API-Key: KEY`, in constant time."""
        if not self._key:
            return
        scheme, _, token = authorization.partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else api_key
        if not hmac.compare_digest(given, self._key):
            raise Refusal(
                Code.UNAUTHENTICATED, "The API key is missing or wrong; send it as 'Authorization: Bearer KEY'"
            )


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bare(host: str) -> str:
    """A host from a header or an option, without port, brackets and the dot at the end."""
    host = host.strip().lower()
    bare = host[1:].partition("]")[0] if host.startswith("[") else host
    if bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return bare.removesuffix(".")
