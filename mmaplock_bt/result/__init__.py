"""What a result is: rows, histograms, books, loss, the file, readings of metrics."""
