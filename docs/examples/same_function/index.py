"""The Python cloud function that replaces index.js."""

import cloudfn as cloud

cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)


def main(event, context):
    try:
        return cloud.openapi.img.aiCrop({"imgUrl": event["imgUrl"], "ratios": "1,2.35"})
    except cloud.CloudError as err:
        return err.to_dict()
