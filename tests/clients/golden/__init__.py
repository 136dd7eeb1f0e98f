"""Answers of every route, recorded with one build and compared with those of another: for changes that no client must see.

  python -m golden record FILE      in tests/clients, with LLAMERO_BIN naming the build
  python -m golden compare FILE FILE

Parts that differ between two runs of one build (ids, times, dates) are replaced by a word. Needs nothing but Python and the default model.
"""
