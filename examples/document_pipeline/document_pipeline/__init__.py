"""Components that read text files, measure them, find what sets them apart, and write a report."""
