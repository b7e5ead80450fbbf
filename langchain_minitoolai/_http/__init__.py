"""HTTP: requests sent, responses read, retries, deadlines, connection pools."""
