"""WeChat's endpoints on your own machine, answered by the embedded engine; and the real wx-server-sdk's endpoint.

`run` starts workers, `front` takes HTTP from the network, `app` is the Flask application, `endpoints` tells who answers
which address, `state` is what a worker knows. What WeChat is known to do is in `answers`, `issuer`, `quota` and `form`;
the wire of its SDK in `sdk` and `protobuf`; what an operator or a test needs in `journal`, `faults`, `metrics` and
`admin`; what a person looks at in `page`. Nothing here imports `backends/wechat`: a wrong contract would agree with
itself.
"""
