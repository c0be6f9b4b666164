"""The engines: one folder each. :mod:`dovetail.transport.registry` chooses among them."""
