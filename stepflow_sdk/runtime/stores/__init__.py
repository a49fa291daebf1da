"""Where blobs and runs are kept."""
