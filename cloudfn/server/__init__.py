"""WeChat's endpoints on your own machine, answered by the embedded engine; and the real wx-server-sdk's endpoint.

`front` takes HTTP from the network, `app` is the Flask application that answers, `run` starts workers. What WeChat is
known to do is in `answers`, `tokens` and `form`; the CloudBase wire in `cloudbase` and `protobuf`; what an operator
or a test needs in `journal`, `faults`, `metrics` and `admin`. Nothing here imports `backends/wechat`: a wrong contract
would agree with itself.
"""
