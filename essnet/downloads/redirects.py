"""Where a server sends one on to: only to possible addresses, and never from a safe connection to an open one."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests


class CarefulSession(requests.Session):
    """Follows redirects as requests does, but for two kinds, which are refused in words for people."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the address that an answer sends one on to, None if it does not.

        Raises
        ------
        requests.exceptions.InvalidURL
            If it is no address, or leads from https to http: then anybody on the way could change the file.
        """
        try:
            target = super().get_redirect_target(resp)
            parts = urlsplit(urljoin(resp.url, target or ""))
            _ = parts.port  # only now it is looked at
        except ValueError as error:
            shown = resp.headers.get("Location", "")[:200]
            raise requests.exceptions.InvalidURL(
                f"the server redirects to {shown!r}, which is no address", response=resp
            ) from error
        if target is not None and urlsplit(resp.url).scheme == "https" and parts.scheme == "http":
            raise requests.exceptions.InvalidURL(
                f"the server redirects to {target[:200]}, which is not safe as https is; refused", response=resp
            )
        return target
