"""Image jobs: submit once, poll, download, save."""
