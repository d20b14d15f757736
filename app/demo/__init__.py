"""The demo: the whole way from simulated routers to decoded flows, live on a terminal."""
