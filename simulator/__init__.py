"""A simulated ISP whose routers export NetFlow and IPFIX, with the truth beside it."""
