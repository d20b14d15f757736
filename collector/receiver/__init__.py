"""From UDP sockets to the journal: a process that takes datagrams in batches, nothing else."""
