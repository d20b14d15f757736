"""Questions from the command line: their arguments read, their answers shown."""
