"""Adoption: the wrapper reads the catalogue, the gates and the figures of a database that had them before. docs/howto/adopt.md.

``mapping`` is the file that a person reviews, ``host`` what the catalog says of the host's tables, ``inspection`` what of them fits, and
a first mapping. ``scripts`` makes the SQL that a DBA runs, ``checking`` compares a database with it.
"""
