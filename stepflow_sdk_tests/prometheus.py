"""Metrics, read by the official client of Prometheus."""

from prometheus_client.parser import text_string_to_metric_families


def samples_of(text: str) -> dict[str, float]:
    """The samples by name and labels (``name{a="b"}``), and what the client checks of the families around them."""
    found: dict[str, float] = {}
    seen: set[str] = set()
    for family in text_string_to_metric_families(text):
        assert family.name not in seen, f"{family.name} stands there twice"
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}
        seen.add(family.name)
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found, f"{key} stands there twice"
            found[key] = sample.value
        _check_buckets(family.type, [(sample.name, sample.labels, sample.value) for sample in family.samples])
    return found


def _check_buckets(kind: str, samples: list[tuple[str, dict[str, str], float]]) -> None:
    if kind != "histogram":
        return
    series: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    counts: dict[tuple[str, ...], float] = {}
    for name, labels, value in samples:
        key = tuple(sorted(f"{label}={text}" for label, text in labels.items() if label != "le"))
        if name.endswith("_bucket"):
            series.setdefault(key, []).append((float(labels["le"]), value))
        elif name.endswith("_count"):
            counts[key] = value
    for key, buckets in series.items():
        assert buckets == sorted(buckets)
        assert [value for _, value in buckets] == sorted(value for _, value in buckets)
        assert buckets[-1] == (float("inf"), counts[key])
