"""What SDKs talk to: tokens, the HTTP edge, the ordinary routes, the streams, health.

Requests are answered from snapshots (``resources``), by the fast edge (``edge``) and by the ordinary
Starlette routes (``app``) alike. This room imports the store, evaluation, usage, telemetry and the model;
what it needs of whoever talks to SaaS it declares itself (``needs``). Only ``modes`` imports it.
"""
