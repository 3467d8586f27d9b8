"""Predictions become a Report: metrics, intervals over speakers, speaker probe, reliability."""
