"""Lean's API: the table of paths, what checks a call, what answers it, and the OpenAPI description."""
