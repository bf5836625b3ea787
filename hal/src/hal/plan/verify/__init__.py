"""The verifier: a plan without findings is right in every schedule."""

from hal.plan.findings import Code, Finding, Report, Where
from hal.plan.verify.limits import Limits
from hal.plan.verify.proof import verify

__all__ = ["Code", "Finding", "Limits", "Report", "Where", "verify"]
