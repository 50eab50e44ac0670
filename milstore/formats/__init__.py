"""Files that tools write, read: one module a form of file."""
