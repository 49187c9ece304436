// Readings of the meter as text for a Prometheus scraper: the way to see a process whose metrics are not sent anywhere.
//
// Format: Prometheus text exposition 0.0.4. Names have dots here and underscores there; counters end in `_total`.

import type { MeterReading } from './meter.ts'

export const PROMETHEUS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** One line a reading, its type before the first of a name. */
export function prometheusText(readings: readonly MeterReading[]): string {
  const families = new Map<string, { kind: MeterReading['kind']; lines: string[] }>()
  for (const { name, kind, attributes, value } of readings) {
    const base = name.replaceAll(/[^a-zA-Z0-9_]/g, '_')
    const family = kind === 'counter' && !base.endsWith('_total') ? `${base}_total` : base
    const labels = Object.entries(attributes).map(([key, text]) => `${key.replaceAll(/[^a-zA-Z0-9_]/g, '_')}="${escaped(text)}"`)
    const known = families.get(family) ?? { kind, lines: [] }
    families.set(family, known)
    known.lines.push(`${family}${labels.length === 0 ? '' : `{${labels.join(',')}}`} ${value}`)
  }
  return [...families].map(([family, { kind, lines }]) => `# TYPE ${family} ${kind}\n${lines.join('\n')}\n`).join('')
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
