"""Predictions become a Report: metrics, intervals over speakers, speaker leak, pictures."""
