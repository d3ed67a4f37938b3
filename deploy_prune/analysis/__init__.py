"""Answers about files, machines and runs."""
