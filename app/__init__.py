"""The browser pages: thin faces over `ragcore.Library`."""
