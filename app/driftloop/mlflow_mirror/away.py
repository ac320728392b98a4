"""Whether an MLflow server could not be reached, and why, from what its client raised.

The client puts what happened into one text with the names of its libraries' classes and addresses of objects; the
exceptions themselves are still behind it.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["why_away"]


def why_away(error: BaseException) -> str | None:
    """In a few words why there was no answer; None if the server answered, or was not what failed.

    >>> why_away(ValueError("no such parameter"))
    """
    from requests.exceptions import RequestException, Timeout

    chain = list(_chain(error))
    if not any(isinstance(link, RequestException) for link in chain):
        return None
    if any(isinstance(link, Timeout) for link in chain):
        return "timed out"
    # The innermost is the operating system's or TLS's own: connection refused, name not known, certificate expired.
    said = next((link.strerror for link in reversed(chain) if isinstance(link, OSError) and link.strerror), None)
    return said or " ".join(str(chain[-1]).split())[:200]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, what it came from, and so on."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__
