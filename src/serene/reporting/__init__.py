"""Figures become what people read: pages, cards and pictures."""
