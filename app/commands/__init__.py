"""One module a command: ``add_arguments``, ``run`` and an ``EXAMPLE`` for its help."""
