"""Who is answered: the key, and how often one client may ask. The same for REST and gRPC."""

import hmac

from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from kt.serve.refusal import Code, Refusal
from kt.serve.settings import Settings


class Gatekeeper:
    """Refuses clients without the key (401), and those that ask too often (429)."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.encode()
        self._rate = RateLimitItemPerSecond(settings.limits.rate) if settings.limits.rate else None
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def check_rate(self, client: str) -> None:
        """Count a request of a client."""
        if self._rate is not None and not self._limiter.hit(self._rate, client):
            raise Refusal(
                Code.RESOURCE_EXHAUSTED, f"More than {self._rate.amount} requests a second; try again in a second"
            )

    def check_key(self, *, authorization: bytes, api_key: bytes) -> None:
        """Compare what came as `Authorization: Bearer KEY` or `X-API-Key: KEY`, in a time that tells nothing."""
        if not self._key:
            return
        scheme, _, token = authorization.partition(b" ")
        given = token.strip() if scheme.lower() == b"bearer" else api_key
        if not hmac.compare_digest(given, self._key):
            raise Refusal(
                Code.UNAUTHENTICATED, "The API key is missing or wrong; send it as 'Authorization: Bearer KEY'"
            )
