"""Phones and tablets that adb leads to: the client, what they say about themselves, and what runs files there."""
