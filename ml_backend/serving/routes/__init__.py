"""The addresses that the server answers: Label Studio's, the metrics, and the pages."""
