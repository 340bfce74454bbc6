"""Adoption: the wrapper reads the catalogue, the gates and the figures of a database that had them before. docs/howto/adopt.md.

``mapping`` is the file that a person reviews, ``host`` what the catalog says of the host's tables, and ``seams`` the views that the one makes
over the other. ``inspection`` says what of a host fits, and drafts a first mapping (``looking``, ``drafting``). ``scripts`` makes the SQL
that a DBA runs, ``checking`` compares a database with it.
"""
