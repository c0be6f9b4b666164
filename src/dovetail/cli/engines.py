"""``dovetail engines``: what each engine offers, and whether it can run here.

JSON document (``--json``): ``{engines: [{scheme, available, detail, made_of, capabilities}]}``;
``capabilities`` holds ``store``, ``stream``, ``zero_copy``, ``woken_waits``, ``rename``,
``persistent``, ``several_nodes``, ``started_apart`` (true or false) and ``policies`` (a sorted
list).
"""

from __future__ import annotations

from dataclasses import fields

from dovetail.cli.output import AsJson, print_json


def engines(as_json: AsJson = False) -> None:
    """Say what each engine offers, and whether it can run here."""
    from dovetail.transport import registry
    from dovetail.transport.contract import Capabilities

    names = [field.name for field in fields(Capabilities) if field.name != "policies"]
    found = registry.engines()
    if as_json:
        print_json(
            {
                "engines": [
                    {
                        "scheme": engine.scheme,
                        "available": engine.available,
                        "detail": engine.detail,
                        "made_of": engine.made_of,
                        "capabilities": {name: getattr(engine.capabilities, name) for name in names}
                        | {"policies": sorted(engine.capabilities.policies)},
                    }
                    for engine in found
                ]
            }
        )
        return
    for engine in found:
        offered = [name.replace("_", " ") for name in names if getattr(engine.capabilities, name)]
        here = "available" if engine.available else "not available here"
        print(f"{engine.scheme}://  {here}: {engine.detail}")
        print(f"    made of   {engine.made_of}")
        print(f"    offers    {', '.join(offered)}")
        print(f"    policies  {', '.join(sorted(engine.capabilities.policies)) or 'none'}")
