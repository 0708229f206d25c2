"""The report as HTML: no script, no link, nothing to load."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from care_live.images import LIMITS, VolumeKey
from care_live.viewer.run_report.run_facts import Caution, ReferenceFacts, RunCounts, RunFacts, TimeLine, Trouble
from care_live.viewer.run_report.worst_places import DoubtfulPlane
from care_live.viewer.trust_line import TrustSpan

_MAX_TROUBLES, _MAX_REASONS = 200, 20
_WIDTH, _HEIGHT, _LEFT, _BELOW = 640, 120, 70, 18
_MAX_POINTS = 2000
_LINE_PX = 24
_LIGHT = {"green": ("#2a8a3e", 0.35), "amber": ("#e0a100", 0.65), "red": ("#c21d1d", 1.0)}
"""Colour, and share of the height."""
_MAX_POSITIONS = 96
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c1c1c }
h1 { font-size: 1.5rem; overflow-wrap: anywhere } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums } .bad { color: #a01313; font-weight: 600 }
.limits { border-left: .3rem solid #b36b00; padding: .3rem .8rem; background: #fff7e8 }
figure { margin: 1rem 0 } figure div { display: flex; gap: .6rem; flex-wrap: wrap }
figure img { width: 14.5rem; image-rendering: pixelated; background: #000 } figcaption { color: #555 }
.light { display: inline-block; width: .8rem; height: .8rem; border-radius: 50%; background: #bbb }
.invented { color: #c85400 } .missing { color: #0b73a8 }
.green { background: #2a8a3e } .amber { background: #e0a100 } .red { background: #c21d1d }
svg { display: block; max-width: 100% } svg text { font: 11px system-ui, sans-serif; fill: #555 }
"""


def page(facts: RunFacts, places: Sequence[DoubtfulPlane]) -> str:
    """Return the whole page."""
    title = f"Run {escape(facts.run_id)}"
    sections = (
        _about(facts),
        _counts(facts.tally, is_over=facts.is_over),
        _networks(facts),
        _verdicts(facts.verdicts, facts.trust_lines, facts.cautions),
        _references(facts.references),
        _lines(facts.lines),
        _places(places),
        _troubles(facts.troubles, is_over=facts.is_over),
    )
    body = "\n".join(section for section in sections if section)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{title}</h1>\n{body}\n</body></html>\n"
    )


def _about(facts: RunFacts) -> str:
    began = datetime.fromtimestamp(facts.began_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    z, y, x = facts.voxel_size_um
    rows = [
        ("Folder", escape(str(facts.path))),
        ("Began", began),
        ("Ended", _bad(escape(facts.end), facts.end != "finished")),
        ("Planes", f"{facts.shape_px[0]} x {facts.shape_px[1]} px, voxels {z:g} x {y:g} x {x:g} um (z, y, x)"),
        ("Channels", escape(", ".join(facts.channels)) or "one"),
        ("Positions", escape(", ".join(facts.positions)) or "one"),
    ]
    if facts.damaged_lines:
        damaged = ", ".join(map(str, facts.damaged_lines[:20]))
        rows.append(
            ("Journal", _bad(f"{len(facts.damaged_lines)} damaged lines ({damaged}): volumes may be missing here"))
        )
    return _table(rows)


def _counts(tally: RunCounts, *, is_over: bool) -> str:
    rows = (
        ("Volumes planned", tally.planned, False),
        ("stored raw", tally.stored, False),
        ("never delivered" if is_over else "not delivered yet", tally.never_came, is_over),
        ("stored with planes missing", tally.incomplete, True),
        ("suspect: planes may lie at wrong heights", tally.suspect, True),
        ("restored", tally.restored, False),
        ("skipped: restoration was too slow", tally.skipped, True),
        ("restoration failed", tally.failed, True),
        ("waiting to be restored", tally.waiting, is_over),
        ("kept raw only: of a channel that is not restored", tally.left_out, False),
        ("Planes of stored volumes", tally.planes_expected, False),
        ("lost", tally.planes_lost, True),
        ("received twice, kept once", tally.duplicates, False),
    )
    cells = "".join(
        f'<tr><td>{name}</td><td class="number">{_bad(str(number), is_bad and number > 0)}</td></tr>'
        for name, number, is_bad in rows
    )
    return f"<h2>Volumes and planes</h2><table>{cells}</table>"


def _networks(facts: RunFacts) -> str:
    if not facts.models:
        return f'<h2>Network</h2><p>The journal names no network.</p><p class="limits">{LIMITS}</p>'
    rows = []
    for model in facts.models:
        card = model.card
        coverage = _coverage(card.get("calibration"))
        limits = escape(str(card.get("limits") or LIMITS))
        network = escape(str(card.get("network") or ""))
        names = (facts.channels[c] if c < len(facts.channels) else str(c) for c in model.channels)
        of = f" of {escape(', '.join(names))}" if model.channels else ""
        rows.append(
            f"<p><b>{escape(model.name)}</b>{of} ({escape(str(card.get('task', '')))}; {network}), sha256 "
            f'<code>{escape(model.sha256[:16])}</code>{coverage}</p><p class="limits">{limits}</p>'
        )
    flags = "; ".join(f"{escape(name)}: {number}" for name, number in facts.flags)
    return "<h2>Network</h2>" + "".join(rows) + (f"<p>Flags of restored volumes: {flags}.</p>" if flags else "")


def _verdicts(
    verdicts: Sequence[tuple[str, int]], lines: Mapping[str, Sequence[TrustSpan]], cautions: Sequence[Caution]
) -> str:
    """Return how many restored volumes agree with the photons that were counted."""
    if not verdicts:
        return ""
    rows = [(f'<span class="light {name.split()[0]}"></span> {name}', str(number)) for name, number in verdicts]
    said = (
        "Green: restoration and photons agree. Amber: read the reasons first. Red: the restoration shows something "
        "that was not counted, or lacks something that was; these volumes stand under Troubles."
    )
    return f"<h2>Trust</h2>{_table(rows)}{_trust_lines(lines)}<p>{said}</p>{_cautions(cautions)}"


def _cautions(cautions: Sequence[Caution]) -> str:
    """Return why volumes are amber, and how many."""
    if not cautions:
        return ""
    rows = [
        (f"{one.n_volumes} volume{'' if one.n_volumes == 1 else 's'}, first {_where(one.first)}", escape(one.reason))
        for one in cautions[:_MAX_REASONS]
    ]
    return f"<h3>Why amber</h3>{_table(rows)}"


def _references(seen: ReferenceFacts | None) -> str:
    """Return how often the error was measured, what light that cost, and why a reference was no use."""
    if seen is None:
        return ""
    rows = [
        ("Error measured", f"{seen.n_measured} times"),
        ("Light that it cost", f"{seen.dose:.1%} of all other light"),
    ]
    rows += [("Not measured", escape(why)) for why in seen.unmeasured[:_MAX_REASONS]]
    if (more := len(seen.unmeasured) - _MAX_REASONS) > 0:
        rows.append(("Not measured", f"{more} more"))
    return f"<h2>Reference planes</h2>{_table(rows)}"


def _trust_lines(lines: Mapping[str, Sequence[TrustSpan]]) -> str:
    """Draw the light over time for each position and channel: low green, half-high amber, full red, with its reason."""
    last = max((span.last for line in lines.values() for span in line), default=0)
    positions = sorted({span.p for line in lines.values() for span in line})
    drawn = [
        _trust_line([span for span in line if span.p == p], last, channel)
        for p in positions[:_MAX_POSITIONS]
        for channel, line in lines.items()
    ]
    return "".join(drawn)


def _trust_line(spans: Sequence[TrustSpan], last: int, channel: str) -> str:
    if not spans:
        return ""
    bars = "".join(_bar(span, _WIDTH / (last + 1), channel) for span in spans)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_LINE_PX + 14}" width="{_WIDTH}" height="{_LINE_PX + 14}" role="img">{bars}'
        f'<text x="0" y="{_LINE_PX + 12}">position {spans[0].p}, {escape(channel)}, time point 0</text>'
        f'<text x="{_WIDTH}" y="{_LINE_PX + 12}" text-anchor="end">{last}</text></svg>'
    )


def _bar(span: TrustSpan, pace: float, channel: str) -> str:
    ink, share = _LIGHT.get(span.colour, ("#999", 0.5))
    words = f"time points {span.first} to {span.last}" if span.last > span.first else f"time point {span.first}"
    said = escape(". ".join(filter(None, (span.colour, span.reason))))
    return (
        f'<rect x="{span.first * pace:.2f}" y="{_LINE_PX * (1 - share):.1f}" '
        f'width="{max((span.last - span.first + 1) * pace - 0.5, 0.5):.2f}" height="{_LINE_PX * share:.1f}" '
        f'fill="{ink}"><title>{words}, {escape(channel)}: {said}</title></rect>'
    )


def _coverage(calibration: object) -> str:
    """Return what the card's intervals held on volumes that did not fix them, in words."""
    if not isinstance(calibration, dict) or not calibration.get("observed_after"):
        return "; its intervals were not calibrated"
    held = ", ".join(
        f"{level:.0%}: {observed:.1%}"
        for level, observed in zip(calibration["levels"], calibration["observed_after"], strict=False)
    )
    return f"; coverage of its intervals when it was calibrated: {escape(held)}"


def _lines(lines: Iterable[TimeLine]) -> str:
    drawn = "".join(
        f"<figure>{_chart(line)}<figcaption>{line.name} ({line.unit})</figcaption></figure>" for line in lines
    )
    return f"<h2>Over time</h2>{drawn}" if drawn else ""


def _chart(line: TimeLine) -> str:
    """Draw one number over time points; a long run is thinned, its highest values are kept."""
    step = -(-len(line.points) // _MAX_POINTS)
    points = [max(line.points[n : n + step], key=lambda point: point[1]) for n in range(0, len(line.points), step)]
    times, values = zip(*points, strict=True)
    (first, last), (low, high) = (min(times), max(times)), (min(0.0, *values), max(values))
    across, up = (_WIDTH - _LEFT) / max(last - first, 1), (_HEIGHT - _BELOW - 8) / ((high - low) or 1.0)
    drawn = " ".join(
        f"{_LEFT + (t - first) * across:.1f},{_HEIGHT - _BELOW - (value - low) * up:.1f}" for t, value in points
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">'
        f'<polyline points="{drawn}" fill="none" stroke="#1f5fa8"/>'
        f'<text x="0" y="14">{high:.4g}</text><text x="0" y="{_HEIGHT - _BELOW}">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}">time point {first}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT - 4}" text-anchor="end">{last}</text></svg>'
    )


def _places(places: Iterable[DoubtfulPlane]) -> str:
    figures = []
    for place in places:
        pictures = "".join(f'<span><img alt="{name}" src="{uri}"><br>{name}</span>' for name, uri in place.pictures)
        caption = f"{_where(place.key)}, plane {place.z + 1}: {escape(place.caption)}"
        figures.append(f"<figure><div>{pictures}</div><figcaption>{caption}</figcaption></figure>")
    said = (
        '<p>Where a place contradicts the photons: a whole ring in <b class="invented">orange</b> stands around what '
        'is invented (shown, but not counted by the camera), a broken one in <b class="missing">blue</b> around what '
        "is missing (counted, but not shown). The evidence has the same colours, by how many times the noise it is.</p>"
    )
    return f"<h2>Where to look twice</h2>{said}" + "".join(figures) if figures else ""


def _troubles(troubles: Sequence[Trouble], *, is_over: bool) -> str:
    if not troubles:
        which = "planned volume" if is_over else "volume that was delivered so far"
        return f"<h2>Troubles</h2><p>None: every {which} is stored, whole and in its place.</p>"
    rows = [(_where(trouble.key), escape(trouble.reason)) for trouble in troubles[:_MAX_TROUBLES]]
    more = f"<p>and {len(troubles) - _MAX_TROUBLES} more.</p>" if len(troubles) > _MAX_TROUBLES else ""
    return f"<h2>Troubles</h2>{_table(rows)}{more}"


def _where(key: VolumeKey) -> str:
    return f"time point {key.t}, position {key.p}, channel {key.c}"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return "<table>" + "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows) + "</table>"


def _bad(text: str, is_bad: bool = True) -> str:
    return f'<span class="bad">{text}</span>' if is_bad else text
