"""Clients that try to harm a server: what they send (`requests`), how (`ways`), and a program that does it (`__main__`)."""
