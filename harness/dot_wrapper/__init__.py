"""The DOT wrapper's Python side: the caller path, the importer, the command line, the embedded server."""
