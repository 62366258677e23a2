"""Strategies of transfer: what to transfer, how much, and whether it helped."""
