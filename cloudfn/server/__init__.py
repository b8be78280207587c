"""WeChat's endpoints on your own machine, answered by the embedded engine; and the real wx-server-sdk's endpoint.

`run` starts workers, `front` takes HTTP from the network, `app` is the Flask application, `endpoints` maps addresses to
functions, `state` holds the state of a worker. WeChat's known behaviour is in `answers`, `issuer`, `quota` and `form`;
the wire of its SDK in `sdk` and `protobuf`; the tools of an operator or a test in `journal`, `faults`, `metrics` and
`admin`; the page for people in `page`. Nothing here imports `backends/wechat`: a wrong contract would agree with
itself.
"""
