"""What a daemon shows of itself over HTTP: health, metrics, status, and a page."""
