"""A backend for the tests of the suite: a transport over loopback sockets, a device that can be told to misbehave."""
