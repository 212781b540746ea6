"""Boards and reports as text, tables, pages and files."""
