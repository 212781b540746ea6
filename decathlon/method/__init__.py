"""What a method is: its base class, recipe, registry and what is stored of it."""

from decathlon.method.base import Batch, Group, Method, Phase, Policy, Stored, Task

__all__ = ["Batch", "Group", "Method", "Phase", "Policy", "Stored", "Task"]
