"""``ff-proxy compare OLD NEW``: whether two proxies give SDKs the same answers, for migrations."""
