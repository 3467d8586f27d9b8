"""A trained model answers over HTTP, and on a page to try it."""
