"""A node: the processes that take datagrams to the store, looked after."""
