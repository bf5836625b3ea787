"""libibverbs through pyverbs: the second implementation, slower, and the first one's oracle in tests.

It works as `native/link.h` says, in Python; pyverbs keeps the interpreter's lock all the time.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence

import pyverbs.enums as e
from pyverbs.addr import GID, AHAttr, GlobalRoute
from pyverbs.cq import CQ
from pyverbs.device import Context
from pyverbs.mr import MR, DmaBufMR
from pyverbs.pd import PD
from pyverbs.pyverbs_error import PyverbsError, PyverbsRDMAError
from pyverbs.qp import QP, QPAttr, QPCap, QPInitAttr
from pyverbs.wr import SGE, SendWR

from hal_ib import verbs
from hal_ib.choice import Choice
from hal_ib.settings import IbSettings
from hal_ib.verbs import Address, Status

_ACCESS = e.IBV_ACCESS_LOCAL_WRITE | e.IBV_ACCESS_REMOTE_WRITE | e.IBV_ACCESS_REMOTE_READ | e.IBV_ACCESS_REMOTE_ATOMIC
_LARGEST = 1 << 30
_BATCH = 16
_QUEUE_BITS = 8


def _os_error(error: Exception) -> OSError:
    """pyverbs' errors as those that the interface names."""
    code = getattr(error, "error_code", 0) or 0
    return OSError(code, str(error))


class PyverbsRegion(verbs.Region):
    """Memory registered by pyverbs."""

    def __init__(self, mr: MR) -> None:
        self._mr = mr
        self.lkey = mr.lkey
        self.rkey = mr.rkey

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        self._mr.close()


class _Queue:
    """One queue pair, with the counts of what was posted and what is complete."""

    def __init__(self, adapter: PyverbsAdapter, cq: CQ, depth: int, inline: int) -> None:
        cap = QPCap(max_send_wr=depth, max_recv_wr=1, max_send_sge=1, max_recv_sge=1, max_inline_data=inline)
        self._adapter = adapter
        self.qp = QP(adapter.pd, QPInitAttr(qp_type=e.IBV_QPT_RC, scq=cq, rcq=cq, sq_sig_all=0, cap=cap))
        self.posted = self.complete = self.asked = 0
        self.fence = False

    def arrange(self, to: Address, number: int, own_psn: int, peer_psn: int) -> None:
        settings = self._adapter.settings
        self.qp.modify(QPAttr(qp_state=e.IBV_QPS_RESET), e.IBV_QP_STATE)
        attributes = QPAttr(port_num=self._adapter.port)
        attributes.qp_access_flags = _ACCESS
        attributes.path_mtu = to.mtu
        attributes.dest_qp_num = number
        attributes.rq_psn, attributes.sq_psn = peer_psn, own_psn
        attributes.max_rd_atomic = attributes.max_dest_rd_atomic = self._adapter.reads
        attributes.min_rnr_timer = 12
        attributes.timeout = settings.ack_exponent
        attributes.retry_cnt, attributes.rnr_retry = settings.retries, settings.rnr_retries
        route = GlobalRoute(dgid=GID(_gid_text(to.gid)), sgid_index=to.own_gid_index, hop_limit=64)
        port = self._adapter.port
        attributes.ah_attr = AHAttr(gr=route, is_global=int(to.is_global), dlid=to.lid, port_num=port)
        self.qp.to_rts(attributes)


class PyverbsLink(verbs.Link):
    """Queue pairs of pyverbs."""

    def __init__(self, adapter: PyverbsAdapter) -> None:
        settings = adapter.settings
        self._adapter = adapter
        self._settings = settings
        self._lock = threading.RLock()
        self._cq = CQ(adapter.context, settings.queue_depth * settings.queues)
        self._knock_cq = CQ(adapter.context, 4)
        self._knock = _Queue(adapter, self._knock_cq, 4, 0)
        self._queues = [
            _Queue(adapter, self._cq, settings.queue_depth, settings.inline_size) for _ in range(settings.queues)
        ]
        self._fetched = MR(adapter.pd, 8, _ACCESS)
        self._rearrange: Callable[[], None]
        self._failure = (0, 0)
        self._reported = 0
        self._striped = self._knocking = self._closed = False
        self._numbers = tuple(queue.qp.qp_num for queue in (self._knock, *self._queues))

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of the queue pair for knocking, then of those for data."""
        return self._numbers

    def arrange(self, to: Address, numbers: Sequence[int], own_psn: int, peer_psn: int) -> None:
        """Reset all, and bring them to where they send and receive."""
        try:
            for queue, number in zip(self._queues, numbers[1:], strict=True):
                queue.arrange(to, number, own_psn, peer_psn)
            self._rearrange = functools.partial(self._knock.arrange, to, numbers[0], own_psn, peer_psn)
            self._rearrange()
        except PyverbsError as error:
            raise _os_error(error) from error

    def knock(self, timeout: float) -> Status:
        """A write of nothing, until one is acknowledged."""
        end = time.monotonic() + timeout
        while True:
            if not self._knocking:
                self._send(self._knock, self._nothing(e.IBV_SEND_SIGNALED))
                self._knocking = True
            count, done = self._knock_cq.poll(1)
            if count:
                self._knocking = False
                if done[0].status == e.IBV_WC_SUCCESS:
                    return Status.OK
                self._rearrange()
            if time.monotonic() >= end:
                return Status.TIMEOUT
            time.sleep(0)

    def put(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post an RDMA WRITE."""
        with self._lock:
            if status := self._ready():
                return status
            if len(self._queues) > 1 and nbytes >= self._settings.stripe_size:
                return self._stripes(remote, rkey, local, lkey, nbytes)
            return self._transfer(e.IBV_WR_RDMA_WRITE, remote, rkey, local, lkey, nbytes)

    def get(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        """Post an RDMA READ."""
        with self._lock:
            return self._ready() or self._transfer(e.IBV_WR_RDMA_READ, remote, rkey, local, lkey, nbytes)

    def add(self, remote: int, rkey: int, value: int) -> Status:
        """Post an RDMA FETCH_ADD."""
        with self._lock:
            if status := self._ready():
                return status
            sge = SGE(self._fetched.buf, 8, self._fetched.lkey)
            request = SendWR(opcode=e.IBV_WR_ATOMIC_FETCH_AND_ADD, num_sge=1, sg=[sge], send_flags=0)
            request.set_wr_atomic(rkey, remote, value)
            status = self._post(self._queues[0], request, self._settings.post_timeout)
            sge.close()
            return status

    def flush(self, timeout: float) -> Status:
        """Wait for the completion of all that was posted."""
        with self._lock:
            if self._failure[0]:
                return Status.FAILED
            status = self._drain(timeout)
            self._striped = self._striped and bool(status)
            return status

    @property
    def failure(self) -> tuple[int, int]:
        """The first failed completion."""
        return self._failure

    @property
    def reported(self) -> int:
        """Completions polled so far."""
        return self._reported

    def break_it(self) -> None:
        """Put the queue pairs for data into the error state."""
        for queue in self._queues:
            queue.qp.modify(QPAttr(qp_state=e.IBV_QPS_ERR), e.IBV_QP_STATE)

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        if self._closed:
            return
        self._closed = True
        for queue in (self._knock, *self._queues):
            queue.qp.close()
        self._cq.close()
        self._knock_cq.close()
        self._fetched.close()

    def _ready(self) -> Status:
        """Wait for a put that was spread over the queue pairs."""
        if self._failure[0]:
            return Status.FAILED
        if self._striped:
            if status := self._drain(self._settings.post_timeout):
                return status
            self._striped = False
        return Status.OK

    def _transfer(self, opcode: int, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        largest = min(self._adapter.largest, _LARGEST)
        for at in range(0, nbytes, largest):
            part = min(nbytes - at, largest)
            inline = opcode == e.IBV_WR_RDMA_WRITE and part <= self._settings.inline_size
            flags = e.IBV_SEND_INLINE if inline else 0
            if status := self._piece(self._queues[0], opcode, (remote + at, rkey, local + at, lkey, part), flags):
                return status
        return Status.OK

    def _stripes(self, remote: int, rkey: int, local: int, lkey: int, nbytes: int) -> Status:
        if status := self._drain(self._settings.post_timeout):
            return status
        count = len(self._queues)
        part = min((-(-nbytes // count) + 4095) & ~4095, self._adapter.largest, _LARGEST)
        self._striped = True
        for turn, at in enumerate(range(0, nbytes, part)):
            piece = remote + at, rkey, local + at, lkey, min(part, nbytes - at)
            if status := self._piece(self._queues[turn % count], e.IBV_WR_RDMA_WRITE, piece, 0, ask=True):
                return status
        return Status.OK

    def _piece(
        self, queue: _Queue, opcode: int, piece: tuple[int, int, int, int, int], flags: int, *, ask: bool = False
    ) -> Status:
        remote, rkey, local, lkey, nbytes = piece
        sge = SGE(local, nbytes, lkey)
        request = SendWR(opcode=opcode, num_sge=1, sg=[sge], send_flags=flags)
        request.set_wr_rdma(rkey, remote)
        status = self._post(queue, request, self._settings.post_timeout, ask=ask)
        sge.close()  # pyverbs has copied it, and frees neither by itself
        return status

    def _post(self, queue: _Queue, request: SendWR, patience: float, *, ask: bool = False) -> Status:
        depth = self._settings.queue_depth
        end = time.monotonic() + patience
        while queue.posted - queue.complete >= depth:
            self._poll()
            if self._failure[0]:
                return Status.FAILED
            if time.monotonic() >= end:
                return Status.TIMEOUT
            time.sleep(0)
        number = queue.posted + 1
        ask = ask or number - queue.asked >= max(depth // 4, 1)
        request.wr_id = number << _QUEUE_BITS | self._queues.index(queue)
        signaled, fence = e.IBV_SEND_SIGNALED if ask else 0, e.IBV_SEND_FENCE if queue.fence else 0
        request.send_flags = request.send_flags | signaled | fence
        queue.fence = request.opcode == e.IBV_WR_RDMA_READ
        try:
            self._send(queue, request)
        except OSError as error:
            self._failure = (-(error.errno or 5), 0)
            return Status.FAILED
        queue.posted = number
        queue.asked = number if ask else queue.asked
        return Status.OK

    def _nothing(self, flags: int) -> SendWR:
        """A write of no bytes; pyverbs wants a piece of memory in each request."""
        sge = SGE(self._fetched.buf, 0, self._fetched.lkey)
        request = SendWR(opcode=e.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge], send_flags=flags)
        sge.close()
        return request

    @staticmethod
    def _send(queue: _Queue, request: SendWR) -> None:
        try:
            queue.qp.post_send(request)
        except PyverbsRDMAError as error:
            raise _os_error(error) from error
        finally:
            request.close()

    def _drain(self, timeout: float) -> Status:
        for queue in self._queues:
            if queue.complete == queue.posted or queue.asked == queue.posted:
                continue
            if status := self._post(queue, self._nothing(0), timeout, ask=True):
                return status
        end = time.monotonic() + timeout
        while True:
            self._poll()
            if self._failure[0]:
                return Status.FAILED
            if all(queue.complete == queue.posted for queue in self._queues):
                return Status.OK
            if time.monotonic() >= end:
                return Status.TIMEOUT
            time.sleep(0)

    def _poll(self) -> None:
        count = _BATCH
        while count == _BATCH:
            count, completions = self._cq.poll(_BATCH)
            self._reported += count
            for done in completions:
                if done.status != e.IBV_WC_SUCCESS:
                    self._failure = self._failure if self._failure[0] else (done.status, done.vendor_err)
                    continue
                queue = self._queues[done.wr_id & (1 << _QUEUE_BITS) - 1]
                queue.complete = max(queue.complete, done.wr_id >> _QUEUE_BITS)


class PyverbsAdapter(verbs.Adapter):
    """A device opened by pyverbs."""

    def __init__(self, choice: Choice, settings: IbSettings) -> None:
        self.settings = settings
        self.port = choice.port.number
        try:
            self.context = Context(name=choice.port.device)
            self.pd = PD(self.context)
            port, device = self.context.query_port(self.port), self.context.query_device()
        except PyverbsError as error:
            raise _os_error(error) from error
        self.mtu = port.active_mtu
        self.lid = port.lid
        self.largest = port.max_msg_sz
        self.atomic = device.atomic_caps != e.IBV_ATOMIC_NONE
        self.reads = max(min(device.max_qp_rd_atom, device.max_qp_init_rd_atom, 16), 1)
        self._access = _ACCESS if self.atomic else _ACCESS & ~e.IBV_ACCESS_REMOTE_ATOMIC

    def register(self, address: int, nbytes: int) -> PyverbsRegion:
        """Register memory of this process."""
        try:
            return PyverbsRegion(MR(self.pd, nbytes, self._access, address=address))
        except PyverbsError as error:
            raise _os_error(error) from error

    def register_dmabuf(self, fd: int, offset: int, nbytes: int, address: int) -> PyverbsRegion:
        """Register memory of another device."""
        try:
            return PyverbsRegion(DmaBufMR(self.pd, nbytes, self._access, dmabuf=fd, offset=offset))
        except PyverbsError as error:
            raise _os_error(error) from error

    def link(self) -> PyverbsLink:
        """Fresh queue pairs."""
        try:
            return PyverbsLink(self)
        except PyverbsError as error:
            raise _os_error(error) from error

    def close(self) -> None:
        """Free it; closing twice is allowed."""
        self.pd.close()
        self.context.close()


def _gid_text(gid: bytes) -> str:
    return ":".join(f"{gid[i]:02x}{gid[i + 1]:02x}" for i in range(0, 16, 2))
