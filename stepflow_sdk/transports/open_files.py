"""How many files, sockets among them, the system lets this process have open."""

__all__ = ["most_open_files", "raise_open_files"]


def most_open_files() -> int | None:
    """The limit of this process; None where there is none, or none that can be asked for."""
    try:
        import resource
    except ModuleNotFoundError:
        return None  # Windows has none that sockets count for
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def raise_open_files(wanted: int) -> None:
    """Raise the limit to what is wanted, or as near to it as the system lets everybody go; it is never lowered.

    It holds for the whole process and the children that it starts from then on.
    """
    limit = most_open_files()
    if limit is None or limit >= wanted:
        return
    import contextlib
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    # macOS has a further limit, which it does not tell here.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
