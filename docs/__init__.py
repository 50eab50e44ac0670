"""The pages, and the programs that write the parts of them that the code knows best: `make docs`."""
