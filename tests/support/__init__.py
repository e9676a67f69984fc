"""Doubles and makers that several tests share."""
