"""Lean's wire: what bodies mean, how webhooks are signed, how times and numbers are read.

Pure functions of bytes. ``codec`` reads JSON under guards, ``times`` reads times, ``answers`` and ``webhooks`` turn
bodies into events, ``documents`` reads what is no event (lists, entities, customers), ``results`` reads bank data,
``signature`` signs and verifies. The only package that imports cattrs, and only at first use.
"""
