"""The compiled module: addresses are integers, times seconds, statuses those of `hal_ib.verbs.Status`."""

def load() -> None: ...
def status_text(status: int) -> str: ...

class Adapter:
    atomic: bool
    mtu: int
    lid: int

    def __init__(self, device: str, port: int) -> None: ...

class Region:
    lkey: int
    rkey: int

    def __init__(self, adapter: Adapter, *memory: int) -> None: ...
    def close(self) -> None: ...

class Link:
    reported: int
    failure: tuple[int, int]

    def __init__(
        self,
        adapter: Adapter,
        queues: int,
        depth: int,
        inline_bytes: int,
        stripe: int,
        ack_timeout: int,
        retries: int,
        rnr_retries: int,
    ) -> None: ...
    def numbers(self) -> list[int]: ...
    def arrange(
        self,
        gid: bytes,
        gid_index: int,
        is_global: bool,
        lid: int,
        mtu: int,
        numbers: list[int],
        own_psn: int,
        peer_psn: int,
    ) -> None: ...
    def knock(self, timeout: float) -> int: ...
    def put(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int, patience: float) -> int: ...
    def get(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int, patience: float) -> int: ...
    def add(self, remote: int, rkey: int, value: int, patience: float) -> int: ...
    def flush(self, timeout: float) -> int: ...
    def break_it(self) -> None: ...
