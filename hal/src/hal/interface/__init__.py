"""What a hardware vendor implements: the Device and Transport facets, capabilities, element types and errors."""
