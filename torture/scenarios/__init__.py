"""One file a test of docs/reliability.md.

Each names its number, `TITLE` and `TARGET`, lists its work in `parts(full)`, and does one part of it in
`inject(folder, **arguments)`.
"""
