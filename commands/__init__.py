"""The command line, one module per noun. A command parses, calls a workflow and prints."""
