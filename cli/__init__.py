"""The command line. Each command parses, calls the library, and prints."""

if __name__ != "milstore.cli":
    raise ImportError("import milstore.cli: the folder at the root is the same package")
