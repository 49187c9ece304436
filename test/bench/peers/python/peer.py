"""Peers of `bench score` in Python (their protocol: score/batch-peer.ts): river's HalfSpaceTrees or luminol, each with its defaults.

usage: python peer.py river|luminol|luminol-bitmap      a batch: of each series its length, then one value a line; 0 ends the batch
Answers each batch with its points, the CPU seconds of this process and the sum of all scores. river scores a point, then learns it;
luminol sees a series as a whole.
"""
import json
import sys
import time


def river(series):
    from river import anomaly, compose, preprocessing

    model = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=42))
    total = 0.0
    for value in series:
        point = {0: value}
        total += model.score_one(point)
        model.learn_one(point)
    return total


def luminol(series, algorithm="default_detector"):
    import numpy

    numpy.asscalar = lambda x: x.item()  # luminol 0.4 calls it; NumPy dropped it in 1.23.
    from luminol.anomaly_detector import AnomalyDetector

    rows = {300 * row: value for row, value in enumerate(series)}
    scores = AnomalyDetector(rows, algorithm_name=algorithm).get_all_scores()
    return sum(score for _, score in scores.iteritems())


def batches(lines):
    batch = []
    for line in lines:
        length = int(line)
        if length == 0:
            yield batch
            batch = []
        else:
            batch.append([float(next(lines)) for _ in range(length)])


def luminol_bitmap(series):
    return luminol(series, "bitmap_detector")


score = {"river": river, "luminol": luminol, "luminol-bitmap": luminol_bitmap}[sys.argv[1]]
for batch in batches(iter(sys.stdin)):
    begun = time.process_time()
    total = sum(score(series) for series in batch)
    seconds = time.process_time() - begun
    print(json.dumps({"points": sum(map(len, batch)), "seconds": seconds, "sum": total}), flush=True)
