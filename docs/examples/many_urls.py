"""Ask about thirty URLs at once, eight at a time: `python many_urls.py < urls.txt`. Each answer is a line of JSON."""

import asyncio
import json
import sys

import cloudfn as cloud

cloud.init(env=cloud.DYNAMIC_CURRENT_ENV)


async def crop(url: str, turn: asyncio.Semaphore) -> dict:
    """Return the result, or errCode and errMsg: one bad URL is no reason to lose the others."""
    async with turn:
        try:
            return await cloud.aio.openapi.img.aiCrop({"imgUrl": url, "ratios": "1,16:9"})
        except cloud.CloudError as err:
            return err.to_dict()


async def main(urls: list[str]) -> None:
    turn = asyncio.Semaphore(8)
    for url, answer in zip(urls, await asyncio.gather(*(crop(url, turn) for url in urls)), strict=True):
        print(json.dumps({"url": url, **answer}))


if __name__ == "__main__":
    asyncio.run(main(sys.stdin.read().split()))
