"""Follows the machine's figures, keeps rolling statistics of each, and publishes what is out of the ordinary.

    stats/<figure>     {"mean":…, "deviation":…, "samples":…}    once a second
    anomaly/<figure>   {"value":…, "unit":…, "mean":…, "deviation":…}   a value four deviations from the mean
"""

import json
import math
import time
from collections import defaultdict, deque

import copo

SAMPLES = 240
FEWEST = 40
OUT_OF_THE_ORDINARY = 4.0


class Rolling:
    """Mean and deviation of the newest SAMPLES values."""

    def __init__(self):
        self.values = deque(maxlen=SAMPLES)

    def add(self, value):
        self.values.append(value)

    @property
    def mean(self):
        return math.fsum(self.values) / len(self.values)

    @property
    def deviation(self):
        mean = self.mean
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.values) / len(self.values))

    def is_anomaly(self, value):
        if len(self.values) < FEWEST:
            return False
        return abs(value - self.mean) > OUT_OF_THE_ORDINARY * max(self.deviation, 0.5)


def main():
    figures = defaultdict(Rolling)
    published = defaultdict(float)
    # Whoever has asked is told of a stop before the signal comes, and has time for its last sends.
    copo.stop_requested()
    records = copo.udd_subscribe("machine/*")
    copo.ready()
    copo.meta_report("statistics are kept")
    # The iteration ends when the orchestrator asks this run to stop.
    for record in records:
        if not isinstance(record, copo.Record):
            continue
        name = record.key.split("/", 1)[1]
        sample = json.loads(record.udd_buff)
        rolling = figures[name]
        if rolling.is_anomaly(sample["value"]):
            anomaly = {**sample, "mean": round(rolling.mean, 3), "deviation": round(rolling.deviation, 3)}
            copo.udd_send(json.dumps(anomaly), key=f"anomaly/{name}")
            copo.meta_report(f"{name} is out of the ordinary: {sample['value']}{sample['unit']}")
        rolling.add(sample["value"])
        if time.monotonic() - published[name] >= 1:
            published[name] = time.monotonic()
            summary = {
                "mean": round(rolling.mean, 3),
                "deviation": round(rolling.deviation, 3),
                "samples": len(rolling.values),
            }
            copo.udd_send(json.dumps(summary), key=f"stats/{name}")


if __name__ == "__main__":
    main()
