"""No cookies: they would tie one user's call to another's, and taking them costs time."""

import httpx


class _None(httpx.Cookies):
    """A jar that takes nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Take none."""


_NONE = _None()


class Cookieless:
    """What comes first among the bases of a client that takes no cookies and sends none."""

    @property
    def cookies(self) -> httpx.Cookies:
        """The empty jar."""
        return _NONE


class CookielessClient(Cookieless, httpx.Client):  # type: ignore[override]
    """httpx's client without cookies."""


class CookielessAsyncClient(Cookieless, httpx.AsyncClient):  # type: ignore[override]
    """httpx's async client without cookies."""
