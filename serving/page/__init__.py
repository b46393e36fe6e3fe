"""Pages for people.

    html         the look of every page
"""
