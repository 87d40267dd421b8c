"""Replays: carrying out recorded plans again, any number of times, and telling what differed."""
