"""Index kinds at size, against raw FAISS and hnswlib in the same run: recall, questions a second, latency, memory.

Clustered made-up vectors whose norms differ two to one, or those of a stored index repeated with noise (`--index`).
Every kind is tuned to the recall that is asked for and then timed on one thread; beside it the same FAISS structure is
asked for as much with nothing of ours around it. Then filters, by chance and by category, and a catalog that grows in
batches. Prints Markdown and writes the same as JSON. Times are those of the processor, so that a busy machine spoils
less.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from hubspoke.arrays import BoolArray, FloatArray
from hubspoke.retrieval.approximate import ApproximateIndex, GraphIndex, ScalarIndex
from hubspoke.retrieval.base import ItemIndex
from hubspoke.retrieval.faiss import library as faiss
from hubspoke.retrieval.measurement import BY_COST, K, Sample, Targets

from benchmarks.launch_floor import machine, publish, versions

SHARES = (0.5, 0.1, 0.01, 0.001)
GROWN_WITH = "ivf"


def made_up(n: int, dimension: int, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """(n, D) vectors around one centre for each 200 of them, and the centre of each, which stands for its category."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((max(n // 200, 50), dimension)).astype(np.float32)
    category = rng.integers(0, len(centres), n)
    vectors = centres[category] + rng.standard_normal((n, dimension)).astype(np.float32)
    vectors *= (1.0 + np.arange(dimension, dtype=np.float32)) ** -0.5  # few columns say most, so that clusters overlap
    return np.ascontiguousarray(vectors * rng.uniform(0.7, 1.4, (n, 1)).astype(np.float32)), category


def repeated(folder: str, n: int, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """(n, D) vectors of a stored index with noise of a tenth of each column's spread; items stand for categories."""
    stored = np.asarray(ItemIndex.load(Path(folder)).vectors())
    rng = np.random.default_rng(seed)
    item = rng.integers(0, len(stored), n)
    noise = rng.standard_normal((n, stored.shape[1])).astype(np.float32) * (0.1 * stored.std(axis=0))
    return np.ascontiguousarray(stored[item] + noise), item


def timed(ask: Callable[[FloatArray], object], queries: FloatArray) -> dict[str, float]:
    """Latency of single questions and questions a second in one batch, in processor time of this thread."""
    for query in queries[:20]:
        ask(query[None])
    single = []
    for query in queries:
        started = time.thread_time()
        ask(query[None])
        single.append((time.thread_time() - started) * 1000)
    started = time.thread_time()
    ask(queries)
    batch = time.thread_time() - started
    return {
        "p50_ms": float(np.quantile(single, 0.5)),
        "p99_ms": float(np.quantile(single, 0.99)),
        "single_per_second": 1000 / float(np.mean(single)),
        "batch_per_second": len(queries) / batch,
    }


def raw_search(index: ItemIndex) -> Callable[[FloatArray], object]:
    """The same search by FAISS alone: its structure, and its own refinement where codes are rough."""
    kind = index.index
    if not isinstance(kind, ApproximateIndex):
        flat: Any = kind
        return lambda queries: flat._index.search(queries, K)
    structure, effort = kind._structure.index, kind._effort
    if isinstance(kind, ScalarIndex):
        parameters: Any = None
    elif isinstance(kind, GraphIndex):
        parameters = faiss.SearchParametersHNSW(efSearch=effort)
    else:
        parameters = faiss.SearchParametersIVF(nprobe=effort)
    if not kind.coarse:
        return lambda queries: structure.search(kind._asked(queries), K, params=parameters)
    points = np.ascontiguousarray(kind._brought_to(kind._structure.radius, index.vectors()))
    refined = faiss.IndexRefineFlat(structure, faiss.swig_ptr(points))
    refining = faiss.IndexRefineSearchParameters(k_factor=kind.depth(1.0) / K, base_index_params=parameters)
    return lambda queries: refined.search(kind._asked(queries), K, params=refining)


def measure_kind(kind: str, flat: ItemIndex, sample: Sample, recall: float) -> tuple[ItemIndex, dict[str, Any]]:
    """One kind: built, tuned, timed, and the same by FAISS alone."""
    started = time.process_time()
    built = ItemIndex.build(flat.vectors(), flat.item_ids, flat.space_fingerprint, kind)
    seconds = time.process_time() - started
    index = sample.tuned(built, recall)
    ours = timed(lambda queries: index.search(queries, K), sample.queries)
    raw = timed(raw_search(index), sample.queries)
    again = timed(lambda queries: index.search(queries, K), sample.queries)
    ours = {name: (max if name.endswith("second") else min)(value, again[name]) for name, value in ours.items()}
    found: dict[str, Any] = {"kind": kind, "effort": index.index.settings.get("effort"), "recall": sample.recall(index)}
    found |= {"build_seconds": seconds, "bytes_per_vector": index.index.nbytes / len(index)}
    return index, {**found, **ours, "raw": raw}


def measure_hnswlib(flat: ItemIndex, sample: Sample, recall: float) -> dict[str, Any]:
    """hnswlib over the same vectors, with as many links, tuned alike."""
    import hnswlib

    points, queries = ItemIndex.build(flat.vectors()[:1000], range(1000), "", "hnsw").index, sample.queries
    assert isinstance(points, ApproximateIndex)
    norms = np.linalg.norm(flat.vectors(), axis=1)
    on_sphere = points._brought_to(float(norms.max()), flat.vectors())
    asked = np.zeros((len(queries), on_sphere.shape[1]), np.float32)
    asked[:, : queries.shape[1]] = queries * (norms.max() / np.linalg.norm(queries, axis=1, keepdims=True))
    graph = hnswlib.Index("l2", on_sphere.shape[1])
    graph.init_index(len(flat), M=32, ef_construction=40)
    graph.set_num_threads(1)
    started = time.process_time()
    graph.add_items(on_sphere)
    seconds, share = time.process_time() - started, 0.0
    for effort in (64, 128, 256, 512, 1024, 2048):
        graph.set_ef(effort)
        rows = graph.knn_query(asked, K)[0].astype(np.int64)
        scores = np.einsum("bkd,bd->bk", flat.vectors()[rows].astype(np.float64), queries.astype(np.float64))
        share = float((scores >= sample.tenth[:, None]).mean())
        if share >= recall:
            break
    found = timed(lambda batch: graph.knn_query(batch, K), asked)
    return {"kind": "hnswlib", "effort": effort, "recall": share, "build_seconds": seconds, **found}


def measure_filters(index: ItemIndex, queries: FloatArray, category: np.ndarray) -> list[dict[str, Any]]:
    """Filters that leave some share, by chance and by categories: recall, short lists, questions a second."""
    rng, rows = np.random.default_rng(5), []
    order = rng.permutation(category.max() + 1)[category]  # categories in some order
    for how in ("random", "category"):
        for share in SHARES:
            drawn = rng.random(len(index)) < share if how == "random" else order <= np.quantile(order, share)
            rows.append({"by": how, "share": share, **_filtered(index, queries, drawn)})
    return rows


def _filtered(index: ItemIndex, queries: FloatArray, allowed: BoolArray) -> dict[str, Any]:
    left = np.flatnonzero(allowed)
    sample = Sample.of(np.ascontiguousarray(index.vectors()[left]), queries)
    found = index.search(queries, K, allowed)
    hits = [sum(score >= tenth for _, score in own) for own, tenth in zip(found, sample.tenth, strict=True)]
    short = sum(len(own) < min(K, len(left)) for own in found)
    first = timed(lambda batch: index.search(batch, K, allowed), queries[:100])
    allowed.flags.writeable = False  # from now on it is known again
    repeated = timed(lambda batch: index.search(batch, K, allowed), queries[:100])
    names = ("single_per_second", "p99_ms")
    told = {"first": {name: first[name] for name in names}, "repeated": {name: repeated[name] for name in names}}
    return {"left": len(left), "recall": float(np.minimum(hits, K).mean()) / min(K, len(left)), "short": short, **told}


def measure_growth(vectors: FloatArray, queries: FloatArray, batches: int, recall: float) -> list[dict[str, Any]]:
    """From a fifth of the catalog to all of it in batches: recall, growth and what was trained anew."""
    steps = np.linspace(len(vectors) // 5, len(vectors), batches + 1).astype(int)
    ids = [str(row) for row in range(len(vectors))]
    started, rows, effort = time.process_time(), [], 0
    index = ItemIndex.build(vectors[: steps[0]], ids[: steps[0]], "", GROWN_WITH)
    for before, after in pairwise(steps):
        old_rows = np.full(after, -1)
        old_rows[:before] = np.arange(before)
        index = index.regrown(vectors[:after], ids[:after], old_rows)
        sample, trained = Sample.of(vectors[:after], queries), index.index.state["growth"] > 0.25
        if trained:
            index = ItemIndex.build(vectors[:after], ids[:after], "", GROWN_WITH)
        if trained or not effort:
            index = sample.tuned(index, recall)
            effort = int(str(index.index.settings["effort"]))
        p50 = timed(lambda batch, index=index: index.search(batch, K), queries)["p50_ms"]  # type: ignore[misc]
        found = {"items": int(after), "recall": sample.recall(index), "trained": trained, "p50_ms": p50}
        rows.append({**found, **index.index.state, "seconds": time.process_time() - started})
    everything = index.search(queries[:1], len(vectors))[0]
    rows[-1]["all_found"] = len({row for row, _ in everything}) == len(vectors)
    return rows


def run(args: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    vectors, category = repeated(args.index, args.n) if args.index else made_up(args.n, args.dimension)
    if args.index:
        queries = repeated(args.index, args.queries, seed=1)[0]
    else:
        queries = made_up(args.n, args.dimension, seed=1)[0][: args.queries]
    flat = ItemIndex.build(vectors, [str(row) for row in range(args.n)], "")
    vectors = flat.vectors()
    sample = Sample.of(vectors, queries)
    report: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "data": {
            "n": args.n,
            "dimension": vectors.shape[1],
            "queries": len(queries),
            "recall": args.recall,
            "latency_ms": args.latency_ms,
        },
        "source": "a stored index, repeated with noise" if args.index else "made up, clustered",
        "kinds": [],
        "filters": {},
    }
    if args.batches:
        report["growth"] = measure_growth(np.asarray(vectors), queries[:200], args.batches, args.recall)
        progress(report["growth"])
    for kind in args.kinds.split(","):
        index, found = measure_kind(kind, flat, sample, args.recall)
        report["kinds"].append(found)
        progress(found)
        if kind in args.filtered.split(","):
            report["filters"][kind] = measure_filters(index, queries[:200], category)
            progress(report["filters"][kind])
        del index
    if args.hnswlib:
        report["kinds"].append(measure_hnswlib(flat, sample, args.recall))
        progress(report["kinds"][-1])
    report["auto"] = chosen(report["kinds"], args)
    return {**report, "machine": machine("cpu"), "versions": versions()}


def chosen(kinds: Sequence[Mapping[str, Any]], args: argparse.Namespace) -> str | None:
    """The kind that `auto` would take: the first in the order of cost that is good and fast enough."""
    targets = Targets(recall=args.recall, latency_ms=args.latency_ms)
    good = {
        found["kind"] for found in kinds if found["recall"] >= targets.recall and found["p99_ms"] <= args.latency_ms
    }
    return next((kind for kind in BY_COST if kind in good), None)


def progress(found: object) -> None:
    """What was found, at once: the whole takes half an hour."""
    print(found, file=sys.stderr, flush=True)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as tables."""
    data, place = report["data"], report["machine"]
    lines = [
        f"{data['n']:,} x {data['dimension']} ({report['source']}), {data['queries']} questions, one thread,",
        f"processor time; {place['cpu']}; {report['date']}. For recall@10 {data['recall']} and p99",
        f"{data['latency_ms']:g} ms `auto` takes **{report['auto']}**.",
        "",
        "| kind | effort | recall@10 | p50 ms | p99 ms | single /s | of raw | batch /s | of raw | build s | bytes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for own in report["kinds"]:
        raw = own.get("raw")
        ratio = [f"{own[key] / raw[key]:.2f}" if raw else "-" for key in ("single_per_second", "batch_per_second")]
        size = f"{own['bytes_per_vector']:.0f}" if "bytes_per_vector" in own else "-"
        lines.append(
            f"| {own['kind']} | {own['effort'] or '-'} | {own['recall']:.4f} | {own['p50_ms']:.2f} "
            f"| {own['p99_ms']:.2f} | {own['single_per_second']:,.0f} | {ratio[0]} "
            f"| {own['batch_per_second']:,.0f} | {ratio[1]} | {own['build_seconds']:.0f} | {size} |"
        )
    for kind, rows in report["filters"].items():
        lines += ["", f"Filters, `{kind}`:", "", "| leaves | by | items | recall@10 | short | first /s | repeated /s |"]
        lines.append("|---|---|---|---|---|---|---|")
        lines += [
            f"| {row['share']:.1%} | {row['by']} | {row['left']:,} | {row['recall']:.4f} | {row['short']} "
            f"| {row['first']['single_per_second']:,.0f} | {row['repeated']['single_per_second']:,.0f} |"
            for row in rows
        ]
    if report.get("growth"):
        lines += [
            "",
            f"Growth in batches, `{GROWN_WITH}`:",
            "",
            "| items | growth | imbalance | trained anew | recall@10 | p50 ms |",
        ]
        lines.append("|---|---|---|---|---|---|")
        lines += [
            f"| {row['items']:,} | {row['growth']:.2f} | {row['imbalance']:.2f} | {'yes' if row['trained'] else 'no'} "
            f"| {row['recall']:.4f} | {row['p50_ms']:.2f} |"
            for row in report["growth"]
        ]
        lines.append(f"\nEvery item is found at the end: {report['growth'][-1]['all_found']}.")
    return "\n".join(lines)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n", type=int, default=1_000_000, help="Vectors.")
    parser.add_argument("--dimension", type=int, default=128, help="Columns of made-up vectors.")
    parser.add_argument("--queries", type=int, default=500, help="Questions.")
    parser.add_argument("--index", help="Folder of a stored index whose vectors are repeated with noise.")
    parser.add_argument("--recall", type=float, default=0.99, help="Recall@10 that every kind is tuned to.")
    parser.add_argument("--latency-ms", type=float, default=20.0, help="The p99 that `auto` is to meet.")
    parser.add_argument("--kinds", default=",".join(BY_COST), help="Index kinds, in the order in which they are built.")
    parser.add_argument("--filtered", default="ivf,hnsw", help="Kinds that are asked with filters.")
    parser.add_argument("--hnswlib", action="store_true", help="Measure hnswlib too (pip install hnswlib).")
    parser.add_argument("--batches", type=int, default=8, help="Batches of growth; 0 for none.")
    parser.add_argument("--out", help="The JSON report.")
    args = parser.parse_args()
    faiss.omp_set_num_threads(1)
    publish(lambda: run(args), markdown, args.out)


if __name__ == "__main__":
    main()
