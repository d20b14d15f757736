"""How the state of routers is printed: tables, advice, and records for programs."""
