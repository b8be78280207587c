"""Crop, cut and store: an AWS Lambda function that runs when a picture arrives in a bucket.

Set its S3 trigger to the prefix `photos/`; the cut pictures go to `cut/` in the same bucket. Package it with
`cloudfn package --platform lambda --backend local --function on_upload.py:main --out function.zip`; boto3 is part of
Lambda's runtime. Of COS, OSS and OBS only the client's two lines differ: `context.objects` is the same.
"""

import boto3

import cloudfn as cloud

cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)


@cloud.function
def main(event, context):
    storage = boto3.client("s3")
    stored = []
    for file in context.objects:
        if not file.key.startswith("photos/"):
            continue  # what this function stores must not start it again
        picture = storage.get_object(Bucket=file.bucket, Key=file.key)["Body"].read()
        result = cloud.openapi.img.aiCrop({"img": picture, "ratios": "1,2.35"})
        for name, cut in zip(("square", "banner"), cloud.cut(picture, result, format="jpeg"), strict=True):
            key = f"cut/{name}/{file.key.removeprefix('photos/')}"
            storage.put_object(Bucket=file.bucket, Key=key, Body=cut, ContentType="image/jpeg")
            stored.append(key)
    return {"stored": stored}
