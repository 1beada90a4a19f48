"""Losses. All return one value per example, [B]; callers average."""
