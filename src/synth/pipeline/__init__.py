"""Whole tasks, each read top to bottom: audit, render, and what is checked before they start."""
