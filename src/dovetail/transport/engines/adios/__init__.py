"""The ADIOS2 engines: recordings (``bp5://``) and streams across a network (``sst://``).

A step is ADIOS2 variables, so that ordinary ADIOS2 programs read what is written here and write
what is read here.
"""

from dovetail.transport.engines.adios.engine import ENGINE

__all__ = ["ENGINE"]
