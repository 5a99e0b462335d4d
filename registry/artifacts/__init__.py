"""The artifact store: content-addressed folders, on this machine or at a URL."""
