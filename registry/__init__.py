"""The registry room: what exists and how it was made, in SQL, and a content-addressed artifact store. No torch."""
