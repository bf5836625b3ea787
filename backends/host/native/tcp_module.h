// Adds the classes of TCP connections to the module.
#pragma once
#include <nanobind/nanobind.h>

void bind_tcp(nanobind::module_& m);
