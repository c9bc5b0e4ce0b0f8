"""Who may do what: accounts and their keys, logins, the audit, requests of other sites."""
