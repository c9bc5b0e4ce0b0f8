"""Who may do what: accounts and their keys, logins, the audit, requests of other sites."""

from ragcore.access.audit import Audit
from ragcore.access.keys import KeyInfo, Keys, is_live
from ragcore.access.origins import host_name, same_origin
from ragcore.access.principals import LOCAL, Principal, principal_of
from ragcore.access.sessions import Sessions

__all__ = [
    "LOCAL",
    "Audit",
    "KeyInfo",
    "Keys",
    "Principal",
    "Sessions",
    "host_name",
    "is_live",
    "principal_of",
    "same_origin",
]
