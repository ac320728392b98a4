"""What may be changed over HTTP, by whoever has the token."""
