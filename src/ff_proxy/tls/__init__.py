"""Certificates: reading ours, and deciding whose to trust."""
