"""Whether an MLflow server gave no answer, and why, from what its client raised.

The client puts what happened into one text with the names of its libraries' classes and addresses of objects; the
exceptions themselves are still behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Silence", "silence_of"]


@dataclass(frozen=True)
class Silence:
    """``why``, in a few words. ``unreachable``: no connection was made, so that no other request would get further."""

    why: str
    unreachable: bool


def silence_of(error: BaseException) -> Silence | None:
    """None if the server answered (also with an error of its own), or was not what failed.

    >>> silence_of(ValueError("no such parameter"))
    """
    from requests.exceptions import ConnectionError, ProxyError, SSLError, Timeout
    from urllib3.exceptions import ConnectTimeoutError

    chain = list(_chain(error))
    if not any(isinstance(link, (ConnectionError, Timeout)) for link in chain):
        return None
    unreachable = any(isinstance(link, (ConnectTimeoutError, ProxyError, SSLError)) for link in chain)
    if any(isinstance(link, Timeout) for link in chain):
        return Silence("timed out", unreachable)
    # The innermost is the operating system's or TLS's own: connection refused, name not known, certificate expired.
    said = next((link.strerror for link in reversed(chain) if isinstance(link, OSError) and link.strerror), None)
    return Silence(said or " ".join(str(chain[-1]).split())[:200], unreachable)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it came from, and so on."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
