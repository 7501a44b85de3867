"""Writes a summary of the last minute: how many records each key had, and the newest value of each figure.

Started by cron; COPO_SCHEDULED_TIME (microseconds since the Unix epoch) says for which minute.
"""

import json
import os
import sys
import time
from collections import Counter

import copo

MINUTE = 60_000_000


def main(path):
    until = int(os.environ.get("COPO_SCHEDULED_TIME", time.time_ns() // 1000))
    count, values = Counter(), {}
    for record in copo.udd_subscribe("**", since=until - MINUTE, follow=False):
        if not isinstance(record, copo.Record):
            continue
        count[record.key] += 1
        if record.key.startswith("machine/"):
            values[record.key] = json.loads(record.udd_buff)
    stamp = time.strftime("%Y-%m-%d %H:%M", time.localtime(until / 1e6))
    lines = [f"{stamp}  {sum(count.values())} records"]
    lines += [f"  {key:<16} {number:>6}" for key, number in sorted(count.items())]
    lines += [f"  {key:<16} {value['value']:>10.1f} {value['unit']}" for key, value in sorted(values.items())]
    whole = path + ".new"
    with open(whole, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    os.replace(whole, path)
    copo.meta_report(f"summary of {stamp}: {sum(count.values())} records")


if __name__ == "__main__":
    main(sys.argv[1])
