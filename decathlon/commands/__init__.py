"""The commands: parse, call, print; nothing else.

Nothing is imported at the top of these files that a command does not need: ``--help``,
``score``, ``prepare`` and ``methods`` start without torch.
"""
