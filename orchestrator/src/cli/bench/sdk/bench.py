"""The roles of `copo bench udd --sdk python`: says "ready", waits for a line, works, prints one JSON object."""

import argparse
import json
import struct
import sys
import threading
import time

import copo

STAMP = struct.Struct("<IQQ")  # Publisher, number, time in nanoseconds.
SILENCE = 60.0  # What is missing so long after all should have come will not come.
LEAST_RATE = 10_000  # Records a second that a subscriber takes in at least.
AFTERMATH = 0.1  # For so long a subscriber that has all looks for what comes twice.


def stand_by():
    print("ready", flush=True)
    sys.stdin.readline()


def publish(client, work, in_flight):
    keys = [f"bench/{i}" for i in range(16)] if work.keys else None
    rest = bytes(max(work.size - STAMP.size, 0))
    send, send_sync, pack, now = client.udd_send, client.udd_send_sync, STAMP.pack, time.monotonic_ns
    stand_by()
    start = now()
    for number in range(work.count):
        stamp = start
        if work.rate:
            turn = (number * work.publishers + work.id) * 1_000_000_000 // work.rate
            time.sleep(max(start + turn - now(), 0) / 1e9)
            stamp = now()
        data = pack(work.id, number, stamp) + rest
        if in_flight == 1:
            send_sync(data)
        elif keys:
            send(data, keys[number % 16])
        else:
            send(data)
    client.flush()
    return {"start": start, "end": now(), "cpu": time.process_time_ns()}


def follow(client, work):
    pattern = "bench/*" if work.keys else ""
    records = client.udd_subscribe(pattern)
    expected, received, lost, duplicated, reordered, latencies, end = [0] * work.publishers, 0, 0, 0, 0, [], None
    unpack, now, timed, wanted = STAMP.unpack_from, time.monotonic_ns, work.rate > 0, work.count
    stand_by()
    # A timeout for each record would cost more than a record.
    watch = threading.Timer(SILENCE + wanted / (work.rate or LEAST_RATE), records.close)
    watch.daemon = True
    watch.start()
    try:
        while True:
            record = next(records) if received < wanted else records.next(timeout=AFTERMATH)
            if isinstance(record, copo.Gap):
                lost += record.last - record.first + 1
                continue
            publisher, number, sent = unpack(record.udd_buff)
            received += 1
            if number == expected[publisher]:
                expected[publisher] = number + 1
            elif number > expected[publisher]:
                lost += number - expected[publisher]
                expected[publisher] = number + 1
            elif number + 1 == expected[publisher]:
                duplicated += 1
            else:
                reordered += 1
            if timed:
                latencies.append(now() - sent)
            if received == wanted:
                end = now()
    except (copo.TimedOutError, copo.ClosedError, StopIteration):
        watch.cancel()
    latencies.sort()
    at = lambda share: latencies[max(-(-int(len(latencies) * share * 1000) // 1000) - 1, 0)] if latencies else 0
    return {
        "end": end or now(),
        "cpu": time.process_time_ns(),
        "received": received,
        "lost": max(lost, wanted - received, 0),
        "duplicated": duplicated,
        "reordered": reordered,
        "latencies": [at(0.5), at(0.99), at(0.999)],
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["publisher", "subscriber", "acks"])
    parser.add_argument("--socket", required=True)
    parser.add_argument("--keys", action="store_true")
    for name in ["count", "size", "rate", "id", "publishers", "subscribers", "window"]:
        parser.add_argument("--" + name, type=int, default=0)
    work = parser.parse_args()
    client = copo.connect(work.socket, token="", name="bench")
    if work.role == "subscriber":
        print(json.dumps(follow(client, work)), flush=True)
    else:
        print(json.dumps(publish(client, work, work.window)), flush=True)


main()
