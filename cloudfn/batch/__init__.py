"""Many pictures: listed lazily, cropped on all cores or a Dask cluster, written as lines that can be resumed.

    from cloudfn.batch import crop_all

    if __name__ == "__main__":
        for line in crop_all("photos", "1,2.35", out="results.jsonl", resume=True):
            print(line["input"], line["errCode"])

`inputs` lists, `executor` hands out, `work` is what a worker does, `results` writes, `sheet` draws, `run` ties them.
"""

from cloudfn.batch.run import crop_all

__all__ = ["crop_all"]
