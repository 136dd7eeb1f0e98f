"""Files of deploy/ as tests use them: copies in which addresses, paths and times are replaced."""


def rewrite(file, *changes):
    """Replaces texts in a file; each must be there."""
    text = file.read_text()
    for old, new in changes:
        assert old in text, f"{old!r} is not in {file.name}"
        text = text.replace(old, new)
    file.write_text(text)
