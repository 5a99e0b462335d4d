"""The console: pages over a workspace for those who would rather look than type; read-only unless told otherwise."""
