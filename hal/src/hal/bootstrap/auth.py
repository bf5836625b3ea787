"""Proof of the job's secret, by both sides, before anything else is said.

    server → client   greeting: magic, server's nonce
    client → server   hello: magic, client's nonce, HMAC-SHA256(secret, "client", nonces)
    server → client   proof: HMAC-SHA256(secret, "server", nonces)

The nonces make every proof good for one connection; the two labels keep either side from sending the other's proof
back. A server that does not accept the hello answers with a proof that cannot be right, and closes. What follows is
neither encrypted nor signed: the secret keeps strangers out, it does not hide traffic on an open network.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from hal.bootstrap.wire import WireError

_MAGIC = b"HAL\x01"
_NONCE = 32
_PROOF = 32
GREETING_SIZE = len(_MAGIC) + _NONCE
HELLO_SIZE = len(_MAGIC) + _NONCE + _PROOF
PROOF_SIZE = _PROOF
NO_PROOF = bytes(_PROOF)


def _proof(secret: bytes, label: bytes, server_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.new(secret, b"hal-store " + label + server_nonce + client_nonce, hashlib.sha256).digest()


def _after_magic(message: bytes, length: int) -> bytes:
    if len(message) != length or not message.startswith(_MAGIC):
        raise WireError("the other side does not speak this protocol")
    return message[len(_MAGIC) :]


def make_greeting() -> bytes:
    """The server's first message, with a fresh nonce."""
    return _MAGIC + secrets.token_bytes(_NONCE)


def make_hello(secret: bytes, greeting: bytes) -> bytes:
    """The client's answer to a greeting; `WireError` where that is no greeting."""
    server_nonce = _after_magic(greeting, GREETING_SIZE)
    client_nonce = secrets.token_bytes(_NONCE)
    return _MAGIC + client_nonce + _proof(secret, b"client", server_nonce, client_nonce)


def hello_is_right(secret: bytes, greeting: bytes, hello: bytes) -> bool:
    """Whether the client holds the secret; `WireError` where its message is no hello."""
    content = _after_magic(hello, HELLO_SIZE)
    client_nonce, proof = content[:_NONCE], content[_NONCE:]
    return hmac.compare_digest(proof, _proof(secret, b"client", _after_magic(greeting, GREETING_SIZE), client_nonce))


def make_proof(secret: bytes, greeting: bytes, hello: bytes) -> bytes:
    """The server's proof to a client whose hello was right."""
    return _proof(secret, b"server", greeting[len(_MAGIC) :], hello[len(_MAGIC) : len(_MAGIC) + _NONCE])


def proof_is_right(secret: bytes, greeting: bytes, hello: bytes, proof: bytes) -> bool:
    """Whether the server holds the secret."""
    return hmac.compare_digest(proof, make_proof(secret, greeting, hello))
