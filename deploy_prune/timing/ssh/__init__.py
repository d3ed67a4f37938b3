"""Files that run on a machine reached by the system's own ssh client: keys and agent only, host keys checked."""
