"""Pages for people: one look, static files, and updates that arrive by themselves.

In: the views of a service. Out: whole pages of HTML, and a stream of what changed on them.

    site     the pages of a service, and the stream of each
    view     a page: what it shows now, and what changed since
    assets   static files under addresses that never change
    packed   gzip for the clients that accept it
"""
