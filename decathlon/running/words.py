"""Counts and durations in words."""


def plural(count: int, noun: str) -> str:
    """Returns a count with its noun: ``"1 trial"``, ``"3 trials"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Returns a duration in one or two units: ``"50 s"``, ``"4 min"``, ``"3 h 20 min"``."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
