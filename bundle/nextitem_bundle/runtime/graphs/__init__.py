"""A step that is one graph, each format in a module of its own: a server imports what its own steps use."""
