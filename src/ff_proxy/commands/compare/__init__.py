"""``ff-proxy compare OLD NEW``: do two proxies give SDKs the same answers? For migrations."""
