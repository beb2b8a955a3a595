"""Made-up records of network connections: normal traffic of a network as a mixture of services, and five attacks.

The shape is that of flow records (protocol, service, state, duration, bytes each way, packets, connections of the last
seconds to the same host and service, share of failed ones, hour). Attacks differ from normal traffic by single values
(floods, scans) or only by values that do not go together (a tunnel through DNS, an upload where downloads are usual).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["ATTACKS", "CATEGORIES", "NUMBERS", "Flows", "attacks", "normal"]

CATEGORIES = ("protocol", "service", "state")
NUMBERS = ("duration", "bytes_out", "bytes_in", "packets", "same_host", "same_service", "failed", "hour")
PROTOCOLS = ("tcp", "udp", "icmp")
SERVICES = ("web", "dns", "mail", "ssh", "files", "video", "ping", "other")
STATES = ("complete", "refused", "half_open", "reset")
ATTACKS = ("flood", "scan", "guessing", "tunnel", "upload")

#: service -> protocol, log of seconds, of bytes out and of bytes in (means), log bytes per packet, hours of the day
_KINDS = {
    "web": (0, -0.5, 6.5, 9.5, 6.4, (8, 20)),
    "dns": (1, -4.0, 3.8, 4.8, 4.3, (0, 24)),
    "mail": (0, 0.3, 8.5, 6.0, 6.2, (7, 19)),
    "ssh": (0, 4.5, 7.5, 8.5, 4.8, (8, 23)),
    "files": (0, 1.5, 7.0, 12.5, 7.0, (0, 24)),
    "video": (1, 6.0, 9.0, 16.0, 7.1, (17, 24)),
    "ping": (2, -3.0, 4.2, 4.2, 4.4, (0, 24)),
    "other": (0, 0.5, 6.0, 7.0, 5.5, (0, 24)),
}
#: network -> shares of services, shift of log bytes, of log seconds, of log connections
_NETWORKS = {
    "office": ((0.42, 0.25, 0.10, 0.05, 0.06, 0.02, 0.05, 0.05), 0.0, 0.0, 0.0),
    "campus": ((0.28, 0.22, 0.04, 0.12, 0.08, 0.16, 0.02, 0.08), 1.2, -0.6, 0.9),
}


class Flows(NamedTuple):
    """Records: categories as numbers, shape (n, 3), and numbers, shape (n, 8)."""

    categories: NDArray[np.int64]
    numbers: NDArray[np.float64]

    def joined(self) -> NDArray[np.float64]:
        """All columns side by side, categories first."""
        return np.column_stack((self.categories, self.numbers))


def normal(n: int, network: str, rng: np.random.Generator) -> Flows:
    """Draw normal records of the "office" or the "campus" network."""
    shares, more_bytes, more_seconds, more_connections = _NETWORKS[network]
    service = rng.choice(len(SERVICES), n, p=np.array(shares) / np.sum(shares))
    kind = [_KINDS[name] for name in SERVICES]
    means = np.array([k[1:5] for k in kind], dtype=float)[service]
    size = rng.normal(0, 1, n)  # how long a session is: it moves seconds and bytes together
    log_seconds = means[:, 0] + more_seconds + 0.8 * size + rng.normal(0, 0.4, n)
    log_out = means[:, 1] + more_bytes + 0.7 * size + rng.normal(0, 0.4, n)
    log_in = means[:, 2] + more_bytes + 0.9 * size + rng.normal(0, 0.5, n)
    packets = np.exp(np.logaddexp(log_out, log_in) - means[:, 3] + rng.normal(0, 0.2, n))
    hours = np.array([k[5] for k in kind])[service]
    at = rng.uniform(hours[:, 0], hours[:, 1])
    odd = rng.random(n) < 0.05
    at = np.where(odd, rng.uniform(0, 24, n), at)
    busy = np.exp(0.5 * np.sin((at - 8) / 24 * 2 * np.pi) + more_connections)
    same_host = rng.poisson(2 * busy)
    same_service = rng.poisson(3 * busy)
    failed = rng.beta(0.4, 12, n)
    state = np.where(rng.random(n) < 0.95, 0, rng.choice([1, 2, 3], n, p=[0.4, 0.2, 0.4]))
    protocol = np.array([k[0] for k in kind])[service]
    numbers = (np.exp(log_seconds), np.exp(log_out), np.exp(log_in), packets, same_host, same_service, failed, at)
    return Flows(np.column_stack((protocol, service, state)), np.column_stack(numbers).astype(np.float64))


def attacks(n: int, network: str, rng: np.random.Generator) -> tuple[Flows, NDArray[np.int64]]:
    """Draw records of attacks on a network, with which of `ATTACKS` each of them is."""
    base = normal(n, network, rng)
    kind = rng.integers(len(ATTACKS), size=n)
    categories, numbers = base.categories.copy(), base.numbers.copy()
    column = {name: k for k, name in enumerate(NUMBERS)}

    def turn(name: str, service: str | None, state: int | None, **values: NDArray[np.float64]) -> None:
        rows = kind == ATTACKS.index(name)
        if service is not None:
            categories[rows, 1] = SERVICES.index(service)
            categories[rows, 0] = _KINDS[service][0]
        if state is not None:
            categories[rows, 2] = state
        for number, drawn in values.items():
            numbers[rows, column[number]] = drawn[rows]

    turn("flood", "web", 2, bytes_in=np.zeros(n), same_service=rng.poisson(40, n).astype(float))
    turn("scan", None, 1, packets=np.full(n, 1.0), same_host=rng.poisson(15, n).astype(float), failed=rng.beta(6, 3, n))
    turn("guessing", "ssh", 0, duration=np.exp(rng.normal(0.5, 0.5, n)), same_host=rng.poisson(9, n).astype(float))
    turn("tunnel", "dns", 0, bytes_out=np.exp(rng.normal(6.5, 1, n)), duration=np.exp(rng.normal(-1, 1, n)))
    turn("upload", "web", 0, bytes_out=np.exp(rng.normal(10.5, 1, n)), hour=rng.uniform(0, 24, n))
    return Flows(categories, numbers), kind
