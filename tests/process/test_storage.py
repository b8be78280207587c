"""A storage event from end to end: a picture lands in a bucket, a function crops it and writes the cut picture back."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from cloudfn import CloudError, handler

FUNCTION = """
import os

import boto3
import cloudfn as cloud

storage = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1",
                       aws_access_key_id="test", aws_secret_access_key="test")
cloud.init(backend="local")

@cloud.function
def main(event, context):
    for stored in context.objects:
        picture = storage.get_object(Bucket=stored.bucket, Key=stored.key)["Body"].read()
        result = cloud.openapi.img.aiCrop({"img": picture, "ratios": "1"})
        storage.put_object(Bucket=stored.bucket, Key=f"square/{stored.key}", Body=cloud.cut(picture, result)[0])
"""


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("S3_ENDPOINT", f"http://{host}:{port}")
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield client
    client.close()
    server.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # botocore's own
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # connections that the function's client keeps
def test_a_picture_that_lands_in_a_bucket(permitted: Path, storage: Any, photo: Any) -> None:
    (permitted / "index.py").write_text(FUNCTION)
    storage.create_bucket(Bucket="shop")
    storage.put_object(Bucket="shop", Key="图 1.jpg", Body=photo("raccoon-966x728.jpg").read_bytes())
    record = {
        "eventSource": "aws:s3",
        "s3": {"bucket": {"name": "shop"}, "object": {"key": "%E5%9B%BE+1.jpg", "size": 1}},
    }
    main: Any = handler.load(permitted / "index.py", "main")
    main({"Records": [record]}, None)
    cut = storage.get_object(Bucket="shop", Key="square/图 1.jpg")["Body"].read()
    with Image.open(io.BytesIO(cut)) as picture:
        assert picture.size == (728, 728)
    record["s3"]["object"]["key"] = "gone.jpg"  # type: ignore[index]
    with pytest.raises(CloudError):  # so that Lambda tries again, and hands it to the dead-letter queue
        main(json.dumps({"Records": [record]}).encode(), None)
