"""Where facts, usage and money are kept."""
