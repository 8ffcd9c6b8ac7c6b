"""Finding tritonserver, and the folder, command line and bounds that it is started with."""
