#!/bin/bash
# What is tested on an RDMA device: the backend's own tests, groups on several hosts, then the transport profile of
# conformance. Each with its time.
# Arguments go to pytest; with any, conformance too is a sample, where ranks are processes.
cd "$(dirname "$0")/../../.." || exit 1
export PATH="$PWD/.venv/bin:$PATH"
# time-outs of a machine that is emulated and may be slow
export HAL_IB_ACK_TIMEOUT="${HAL_IB_ACK_TIMEOUT:-1s}"
started=$SECONDS
python -m pytest -q -m "slow and not exhaustive" --timeout 200 -p no:cacheprovider "$@" backends/ib/tests/device \
  tests/collectives/test_hosts_rdma.py tests/faults/test_hosts.py::test_a_killed_rank_over_rdma
tests=$?
echo "rxe: tests took $((SECONDS - started)) s"
started=$SECONDS
sample=()
[ $# = 0 ] || sample=(--test "*processes*")
hal conformance --backend ib --profile transport --quick --limit 200 "${sample[@]}"
conformance=$?
echo "rxe: conformance took $((SECONDS - started)) s"
[ "$tests" = 0 ] && [ "$conformance" = 0 ]
