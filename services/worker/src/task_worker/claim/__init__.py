"""Claiming: from free slots to claimed tasks."""
