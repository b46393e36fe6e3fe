"""Who may enter: TLS, logins and tokens, read anew when their files change.

In: the files of `--web.config.file` and `--web.tokens.file`. Out: a TLS context for each connection, a caller with
scopes for each request, or its refusal.

    entry        TLS, logins, scopes and the audit log, as an application uses them
    web_config   the file of TLS, headers and users
    logins       users with passwords, tokens of machines
    reread       files that are read anew when they change
    files        files that a configuration names
    audit        the lines of the audit log
"""
