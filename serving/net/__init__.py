"""HTTP on a socket: connections with deadlines, requests, and the threads that answer them.

In: a WSGI application, a listen address, flags. Out: answers on the wire, until a signal ends the process.

    runner       one process: listen address, signals, shutdown
    options      the flags of a command that serves
    http         requests and answers, on an event loop
    streams      answers without an end, of messages
    connections  deadlines and bounds of connections
    lanes        the threads that answer, by path
    traffic      counters of connections, handshakes and requests that were not served
    wsgi         a request and an answer as the application sees them
    origin       names of the service, changes by web pages, headers for browsers
    access       the access log
"""
