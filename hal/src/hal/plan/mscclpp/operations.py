"""What operands each operation on data has, and in which order it reduces them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Where an operand lies (`own` memory, a `remote` rank's, a `switch` group's), and whether it is in packets."""

    where: str
    packet: bool = False

    def __str__(self) -> str:
        return f"{self.where}{' packets' if self.packet else ''}"


OWN, REMOTE, SWITCH = Kind("own"), Kind("remote"), Kind("switch")
OWN_PACKETS, REMOTE_PACKETS, SWITCH_PACKETS = Kind("own", True), Kind("remote", True), Kind("switch", True)


@dataclass(frozen=True)
class Row:
    """The operands on one side: the first ones, each of which there must be, and any number of `rest` after them."""

    first: tuple[Kind, ...] = ()
    rest: Kind | None = None

    def kind(self, index: int) -> Kind | None:
        """The kind of the operand at `index`; None where there is none."""
        return self.first[index] if index < len(self.first) else self.rest


@dataclass(frozen=True)
class Form:
    """An operation on data."""

    src: Row
    dst: Row
    pairs: bool = False
    """Each destination gets the source of the same place, in place of all getting the reduction of all."""
    first_last: bool = False
    """The first source is reduced last, after the packets."""
    port: bool = False
    """Whether it may go through a port channel."""


_SUM = Row((OWN,), OWN)
_READ = Row((OWN,), REMOTE)
_WITH_PACKETS = Row((OWN,), OWN_PACKETS)

FORMS: dict[str, Form] = {
    "copy": Form(Row((OWN,)), Row((OWN,))),
    "put": Form(Row((OWN,), OWN), Row((REMOTE,), REMOTE), pairs=True, port=True),
    "pws": Form(Row((OWN,), OWN), Row((REMOTE,), REMOTE), pairs=True, port=True),
    "pwsf": Form(Row((OWN,), OWN), Row((REMOTE,), REMOTE), pairs=True, port=True),
    "get": Form(Row((REMOTE,), REMOTE), Row((OWN,), OWN), pairs=True),
    "re": Form(_SUM, Row((OWN,))),
    "rre": Form(_READ, Row((OWN,))),
    "res": Form(_SUM, Row((OWN,), REMOTE)),
    "rres": Form(_READ, Row((OWN,), REMOTE)),
    "ppkt": Form(Row((OWN,), OWN), Row((REMOTE_PACKETS,), REMOTE_PACKETS), pairs=True, port=True),
    "cpkt": Form(Row((OWN,)), Row((OWN_PACKETS,))),
    "upkt": Form(Row((OWN_PACKETS,)), Row((OWN,))),
    "rppkt": Form(Row((OWN_PACKETS,)), Row((REMOTE_PACKETS,), REMOTE_PACKETS), port=True),
    "repkt": Form(_WITH_PACKETS, Row((OWN,)), first_last=True),
    "respkt": Form(_WITH_PACKETS, Row((OWN,), REMOTE_PACKETS), first_last=True),
    "recpkt": Form(_WITH_PACKETS, Row((OWN, OWN_PACKETS)), first_last=True),
    "recspkt": Form(_WITH_PACKETS, Row((OWN, OWN_PACKETS), REMOTE_PACKETS), first_last=True),
    "glres": Form(Row((SWITCH,)), Row((SWITCH,))),
    "gstore": Form(Row((OWN,)), Row((SWITCH,))),
    "gstorepkt": Form(Row((OWN,)), Row((SWITCH_PACKETS,))),
}

CONTROL = (
    "nop",
    "barrier",
    "signal",
    "rlxsignal",
    "wait",
    "rlxwait",
    "sem_acquire",
    "sem_release",
    "flush",
    "pipeline",
)
"""The other operations."""

NAMES = (*FORMS, *CONTROL)

ORDERED = ("nop", "barrier")
"""Operations that order the threads of a block on the executor of MSCCL++; `barrier` orders those of all blocks."""
RELEASING = ("signal", "sem_release", "flush", "pws", "pwsf")
"""Operations that one thread does, and that mean what other threads of the block did before."""
ACQUIRING = ("wait", "rlxwait", "sem_acquire")
"""Operations for which one thread waits, and which other threads of the block rely on."""
