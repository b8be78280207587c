"""The calls from Python: python peers.py bare|cloudfn|base64 PORT PICTURE CALLS AT_ONCE"""

from __future__ import annotations

import sys

WHO, PORT, PICTURE, CALLS, AT_ONCE = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
with open(PICTURE, "rb") as file:  # noqa: PTH123 - pathlib would be loaded for it
    picture = file.read()

if WHO == "bare":
    import requests

    session = requests.Session()

    def main(event: dict[str, bytes]) -> None:
        answer = session.post(
            f"http://127.0.0.1:{PORT}/cv/img/aicrop",
            params={"access_token": "token"},
            data={"ratios": "1,2.35"},
            files={"img": ("img.jpeg", event["img"], "image/jpeg")},
            timeout=10,
        ).json()
        assert answer["errcode"] == 0
else:
    import cloudfn as cloud

    cloud.init(backend="wechat", access_token="token", api_base=f"http://127.0.0.1:{PORT}")
    if WHO == "base64":
        import base64

        picture = base64.b64encode(picture).decode()  # type: ignore[assignment]

    def main(event: dict[str, bytes]) -> None:
        img = {"contentType": "image/jpeg", "value": event["img"]}
        answer = cloud.openapi.img.aiCrop({"img": img, "ratios": "1,2.35"})  # type: ignore[call-overload]
        assert answer["errCode"] == 0


def many(count: int) -> None:
    if AT_ONCE == 1:
        for _ in range(count):
            main(event)
        return
    import threading

    def some() -> None:
        for _ in range(count // AT_ONCE):
            main(event)

    threads = [threading.Thread(target=some) for _ in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


event = {"img": picture}
main(event)
if CALLS:
    import json
    import time

    many(max(CALLS // 4, AT_ONCE))
    wall, cpu = time.perf_counter(), time.process_time()
    many(CALLS)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"ms": wall * 1000 / CALLS, "cpu": cpu * 1000 / CALLS}))
