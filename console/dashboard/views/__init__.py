"""Pages, one module an area. A page reads through selectors and writes through services."""
