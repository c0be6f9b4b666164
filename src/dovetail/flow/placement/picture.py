"""A placement as a drawing: one card for all nodes on which the same sits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from dovetail.flow.machines.profile import Device, Machine
from dovetail.flow.numbers import ranges
from dovetail.flow.placement.result import NodeGroup, Placement, Site

_COLOURS = (
    "#0f9488", "#e0661f", "#5550d6", "#d4356b", "#b98a0b", "#1f86c9", "#6a9a1f", "#9a3fb5",
)  # fmt: skip
_WIDTH = 1080
_EDGE = 40
_CARD = 24
_CELL, _GAP = 15, 2
_PITCH = _CELL + _GAP
_IN_A_ROW = (_WIDTH - 2 * _EDGE - 2 * _CARD) // _PITCH
_ROW = 54
"""From one row of cores to the next, with the GPUs between."""
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1b2330}
.title{font-size:24px;font-weight:650}.name{font-weight:600}.quiet{fill:#6a7482}
.small{font-size:11px}.tiny{font-size:9.5px;fill:#fff;font-weight:600}
.paper{fill:#fff}.card{fill:#f6f8fa;stroke:#e1e6ec}.free{fill:#dde3ea}
.reserved{fill:none;stroke:#b6bfca;stroke-dasharray:2 2}.gpu{stroke-width:0}
@media(prefers-color-scheme:dark){text{fill:#e8edf3}.quiet{fill:#98a3b1}.paper{fill:#11161d}
.card{fill:#1a212a;stroke:#2c3642}.free{fill:#36414e}.reserved{stroke:#55616f}}
"""


def svg(placement: Placement) -> str:
    """The drawing, as SVG."""
    drawing = _Drawing(placement)
    body = "\n".join(drawing.parts())
    height = drawing.bottom + _EDGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" role="img" aria-label='
        f"{quoteattr(f'placement of {placement.workflow}')}>\n<style>{_STYLE}</style>\n"
        f'<rect class="paper" width="{_WIDTH}" height="{height}"/>\n{body}\n</svg>\n'
    )


@dataclass(frozen=True, slots=True)
class _Owner:
    """Who has a core or a GPU: a component, and which of its ranks on the node; None for all."""

    component: str
    slot: int | None


class _Drawing:
    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        names = [component.name for site in placement.sites for component in site.components]
        self._colours = {name: _COLOURS[n % len(_COLOURS)] for n, name in enumerate(names)}
        self.bottom = 0

    def parts(self) -> Iterator[str]:
        self.bottom = _EDGE + 20
        yield _text(_EDGE, self.bottom, self._placement.workflow, "title")
        for site in self._placement.sites:
            yield from self._site(site)
        for crossing in self._placement.crossings:
            self.bottom += 26
            yield _text(
                _EDGE,
                self.bottom,
                f"{crossing.purpose} {crossing.name}: a gateway carries it from "
                f"{crossing.source} to {crossing.target}",
                "quiet",
            )

    def _site(self, site: Site) -> Iterator[str]:
        self.bottom += 30
        nodes = "node" if site.node_count == 1 else "nodes"
        text = f"{site.node_count} {nodes} of {site.machine.name}"
        yield _text(_EDGE, self.bottom, text, "quiet")
        yield from self._legend(site)
        for group in site.groups:
            yield from self._card(site, group)

    def _legend(self, site: Site) -> Iterator[str]:
        x, self.bottom = _EDGE, self.bottom + 30
        for component in site.components:
            ranks = component.process_count
            said = f"{ranks} rank{'s' if ranks != 1 else ''}, {component.processes_per_node} a node"
            if component.shares_with:
                said += f", in turns with {component.shares_with}"
            elif not component.is_bound:
                said += ", not bound"
            width = 30 + 7.4 * (len(component.name) + 1) + 6.4 * len(said)
            if x > _EDGE and x + width > _WIDTH - _EDGE:
                x, self.bottom = _EDGE, self.bottom + 24
            colour = self._colours[component.name]
            yield _box(x, self.bottom - 11, 13, 13, f'fill="{colour}"')
            yield (
                f'<text x="{x + 20}" y="{self.bottom}"><tspan class="name">'
                f'{escape(component.name)}</tspan><tspan class="quiet" dx="7">{escape(said)}'
                f"</tspan></text>"
            )
            x += round(width) + 18
        kinds = [("free", "free")] + [("reserved", "reserved")] * bool(site.machine.node.reserved)
        if x + 70 * len(kinds) > _WIDTH - _EDGE:
            x, self.bottom = _EDGE, self.bottom + 24
        for kind, said in kinds:
            yield _box(x + 0.5, self.bottom - 10.5, 12, 12, f'class="{kind}"')
            yield _text(x + 19, self.bottom, said, "quiet")
            x += 70

    def _card(self, site: Site, group: NodeGroup) -> Iterator[str]:
        top = self.bottom + 20
        inside: list[str] = []
        count = len(group.nodes)
        title = f"node {group.nodes[0]}" if count == 1 else f"{count} nodes alike"
        names = [site.hosts[node] for node in group.nodes] if site.hosts else []
        which = ", ".join(names[:4]) + (" …" if len(names) > 4 else "")
        if not names and count > 1:
            which = ranges(group.nodes)
        x, y = _EDGE + _CARD, top + 32
        inside.append(
            f'<text x="{x}" y="{y}"><tspan class="name">{title}</tspan>'
            f'<tspan class="quiet" dx="8">{escape(which)}</tspan></text>'
        )
        if group.occupants:
            y = self._node(site, group, y + 24, inside)
        else:
            inside.append(_text(x, y + 24, "nobody", "quiet"))
            y += 24
        height = y + 18 - top
        yield (
            f'<rect class="card" x="{_EDGE}" y="{top}" width="{_WIDTH - 2 * _EDGE}" '
            f'height="{height}" rx="10"/>'
        )
        yield from inside
        self.bottom = top + height

    def _node(self, site: Site, group: NodeGroup, top: int, into: list[str]) -> int:
        """Draw the cores and GPUs of a node; return where that ends."""
        machine = site.machine
        cores, gpus = _owners(site, group)
        left, x, y = _EDGE + _CARD, _EDGE + _CARD, top
        depth = _ROW if machine.node.devices else 34
        drawn: set[str] = set()
        for number, domain in enumerate(_domains(machine)):
            width = min(len(domain), _IN_A_ROW) * _PITCH
            if x > left and x + width > _WIDTH - _EDGE - _CARD:
                x, y = left, y + depth + 22
            into.append(_text(x, y, f"NUMA {number}: cores {ranges(domain)}", "small quiet"))
            rows = [domain[at : at + _IN_A_ROW] for at in range(0, len(domain), _IN_A_ROW)]
            for place, row in enumerate(rows):
                if place:
                    y += depth
                self._cores(machine, row, cores, x, y + 8, into)
                for device in machine.node.devices:
                    near = [core for core in device.cores if core in row]
                    if near and device.name not in drawn:
                        drawn.add(device.name)
                        first, last = row.index(near[0]), row.index(near[-1])
                        span = (last - first + 1) * _PITCH - _GAP
                        self._gpu(device, gpus, x + first * _PITCH, y + 28, span, into)
            x += width + 22
        rest = [device for device in machine.node.devices if device.name not in drawn]
        bottom = y + (46 if drawn else 24)
        for place, device in enumerate(rest):
            self._gpu(device, gpus, left + place * 70, bottom + 8, 64, into)
        return bottom + (30 if rest else 0)

    def _cores(
        self,
        machine: Machine,
        row: list[int],
        owners: dict[int, list[_Owner]],
        x: int,
        y: int,
        into: list[str],
    ) -> None:
        for place, core in enumerate(row):
            at, who = x + place * _PITCH, owners.get(core, [])
            if core in machine.node.reserved:
                into.append(_box(at + 0.5, y + 0.5, _CELL - 1, _CELL - 1, 'class="reserved"'))
            elif not who:
                into.append(_box(at, y, _CELL, _CELL, 'class="free"'))
            for stripe, owner in enumerate(who):
                high = _CELL / len(who)
                into.append(
                    f'<rect x="{at}" y="{y + stripe * high:g}" width="{_CELL}" height="{high:g}" '
                    f'rx="{3 if len(who) == 1 else 1}" {self._fill(owner)}>'
                    f"<title>{escape(_said(f'core {core}', who))}</title></rect>"
                )

    def _gpu(
        self,
        device: Device,
        owners: dict[str, list[_Owner]],
        x: int,
        y: int,
        width: int,
        into: list[str],
    ) -> None:
        who = owners.get(device.name, [])
        style = self._fill(who[0]) if who else 'class="free"'
        into.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="18" rx="4" {style}>'
            f"<title>{escape(_said(f'GPU {device.name}', who))}</title></rect>"
        )
        label = f"GPU {device.name}" if width >= 50 else device.name
        kind = "tiny" if who else "small quiet"
        into.append(
            f'<text class="{kind}" x="{x + width / 2:g}" y="{y + 12.5}" text-anchor="middle">'
            f"{escape(label)}</text>"
        )

    def _fill(self, owner: _Owner) -> str:
        """The colour of a component; every second rank is lighter, so that one sees them apart."""
        lighter = owner.slot is not None and owner.slot % 2
        return f'fill="{self._colours[owner.component]}"' + (' opacity=".74"' if lighter else "")


def _owners(
    site: Site, group: NodeGroup
) -> tuple[dict[int, list[_Owner]], dict[str, list[_Owner]]]:
    """Who has each core and GPU of the nodes of a group."""
    cores: dict[int, list[_Owner]] = {}
    gpus: dict[str, list[_Owner]] = {}
    for name, ranks in group.occupants:
        component = site.component(name)
        for slot, seat in enumerate(component.seats[:ranks]):
            owner = _Owner(name, None if component.on_what_is_left else slot)
            for core in seat.cores or ():
                if owner not in cores.setdefault(core, []):
                    cores[core].append(owner)
            for gpu in seat.gpus:
                gpus.setdefault(gpu, []).append(owner)
    return cores, gpus


def _domains(machine: Machine) -> list[list[int]]:
    """The cores of each NUMA domain, reserved ones included."""
    node = machine.node
    if not node.numa:
        return [sorted(node.cores)]
    domains = [sorted(domain.cores) for domain in node.numa]
    rest = sorted({*node.cores} - {core for domain in domains for core in domain})
    return [*domains, rest] if rest else domains


def _said(what: str, who: Iterable[_Owner]) -> str:
    names = [
        owner.component if owner.slot is None else f"{owner.component}, local rank {owner.slot}"
        for owner in who
    ]
    return f"{what}: {' and '.join(names) or 'free'}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" {style}/>'
