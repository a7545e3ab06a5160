"""All SQL that works on the schema, one file for each need. Guards come from `transitions` alone.

Elsewhere stand only the schema itself (`_models`, and the migrations), what makes an empty database (`embedded`), and
SQL that only tests run (`testing`).
"""
