// Log records become series: per entity how many of each severity, and how often each message template of a warning or worse.
//
// Flow: worker (reads homeostat.logs.v1) -> logs -> derived points -> homeostat.metrics.v1 (`homeostat.log.records` with
// `severity`; `homeostat.log.template` with `severity`, `template` = id, `pattern` = masked text). Templates below warning
// are only counted in their severity: they are many and harmless. State: open windows and templates, JSON parts.

import { AppError } from '../../schemas/errors.ts'
import type { DerivedPoint, LogSink, LogView } from '../../schemas/otlp.ts'
import { entityParts } from './entity-parts.ts'
import { SourceTable } from './sources.ts'
import { TEMPLATE_BYTES_MAX, templater } from './template.ts'
import {
  closeSlots,
  completeThroughMs,
  type Counter,
  counterOf,
  counterRow,
  heard,
  newCounter,
  pointBase,
  slotAt,
  slotsNeeded,
  type Source,
  type WindowSettings
} from './window.ts'

/** First severity number whose templates get series: WARN. */
const SEVERITY_WARN = 13
/** Short names by severity number, four numbers each (OpenTelemetry log data model). */
const SEVERITIES = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL'] as const
const UNSET = 'UNSET'
/** Templates kept per entity; the one not seen for longest makes room. */
const TEMPLATES_MAX = 200
/** Of a template's text as attribute. */
const PATTERN_CHARS_MAX = 120

interface LogSource extends Source {
  severities: Map<string, Counter>
  /** By template id, least recently seen first. */
  templates: Map<string, Counter>
}

export interface LogStats {
  logs: number
  late: number
  refused: number
  templatesEvicted: number
}

export class LogDeriver implements LogSink {
  readonly stats: LogStats = { logs: 0, late: 0, refused: 0, templatesEvicted: 0 }
  readonly #settings: WindowSettings
  readonly #slots: number
  readonly #sources = new SourceTable<LogSource>(source => ({ ...source, severities: new Map(), templates: new Map() }))
  readonly #templater = templater()
  readonly #encoder = new TextEncoder()
  readonly #body = new Uint8Array(TEMPLATE_BYTES_MAX * 4)
  #arrivalMs = 0

  constructor(settings: WindowSettings, parts?: ReadonlyMap<string, Uint8Array>) {
    this.#settings = settings
    this.#slots = slotsNeeded(settings)
    const saved = parts?.get('logs')
    if (saved) this.#restore(saved)
  }

  /** The log took the following records at `arrivalMs`. */
  begin(arrivalMs: number): void {
    this.#arrivalMs = Math.max(this.#arrivalMs, arrivalMs)
  }

  log(view: LogView): void {
    this.stats.logs++
    const source = this.#sources.of(view.resource)
    if (source === undefined) {
      this.stats.refused++
      return
    }
    // A record without any time happened when it arrived, as far as anybody knows.
    const timeMs = view.timeMs > 0 ? view.timeMs : this.#arrivalMs
    heard(source, timeMs, this.#arrivalMs)
    const severity = severityName(view.severityNumber)
    let records = source.severities.get(severity)
    if (records === undefined) {
      records = newCounter({ severity }, this.#slots, false)
      source.severities.set(severity, records)
    }
    const slot = slotAt(records, source, timeMs, this.#settings)
    if (slot === undefined) {
      this.stats.late++
      return
    }
    slot.count++
    if (view.severityNumber >= SEVERITY_WARN) this.#countTemplate(view, source, severity, timeMs)
  }

  /** Tells what is complete at `nowMs` of the log's clock. */
  advance(nowMs: number, into: DerivedPoint[]): void {
    const { windowMs } = this.#settings
    for (const source of this.#sources.values()) {
      const throughMs = completeThroughMs(source, nowMs, this.#settings)
      if (throughMs <= source.closedThroughMs) continue
      source.closedThroughMs = throughMs
      const entity = entityParts(source.entity, source.environment)
      const tell = (name: string, counter: Counter): void =>
        closeSlots(counter, throughMs, windowMs, slot => {
          const base = pointBase(entity, source, slot, this.#settings)
          into.push({ ...base, name, unit: '{record}', attributes: counter.attributes, data: { kind: 'deltaSum', value: slot.count } })
        })
      for (const counter of source.severities.values()) tell('homeostat.log.records', counter)
      for (const counter of source.templates.values()) tell('homeostat.log.template', counter)
    }
  }

  parts(): Map<string, Uint8Array> {
    const sources = [...this.#sources.values()].map(source => ({
      ...source,
      severities: [...source.severities].map(([name, counter]) => [name, counterRow(counter)]),
      templates: [...source.templates].map(([id, counter]) => [id, counterRow(counter)])
    }))
    return new Map([['logs', new TextEncoder().encode(JSON.stringify({ windowMs: this.#settings.windowMs, sources }))]])
  }

  #countTemplate(view: LogView, source: LogSource, severity: string, timeMs: number): void {
    if (view.bodyEnd > view.bodyStart) this.#templater.mask(view.bytes, view.bodyStart, view.bodyEnd)
    else this.#templater.mask(this.#body, 0, this.#encoder.encodeInto(view.body(TEMPLATE_BYTES_MAX), this.#body).written)
    const id = hex(this.#templater.hashHigh) + hex(this.#templater.hashLow)
    let counter = source.templates.get(id)
    if (counter === undefined) {
      if (source.templates.size >= TEMPLATES_MAX) this.#evict(source)
      const pattern = this.#templater.text().slice(0, PATTERN_CHARS_MAX)
      counter = newCounter({ severity, template: id, pattern }, this.#slots, false)
    } else {
      source.templates.delete(id)
    }
    source.templates.set(id, counter)
    const slot = slotAt(counter, source, timeMs, this.#settings)
    if (slot !== undefined) slot.count++
  }

  #evict(source: LogSource): void {
    const oldest = source.templates.keys().next().value
    if (oldest === undefined) return
    source.templates.delete(oldest)
    this.stats.templatesEvicted++
  }

  #restore(bytes: Uint8Array): void {
    try {
      type Rows = [string, unknown][]
      const saved = JSON.parse(new TextDecoder().decode(bytes)) as { windowMs: number; sources: (Source & { severities: Rows; templates: Rows })[] }
      const isSameWindow = saved.windowMs === this.#settings.windowMs
      for (const { severities, templates, ...source } of saved.sources) {
        const added = this.#sources.add(source)
        if (added === undefined || !isSameWindow) continue
        for (const [name, row] of severities) added.severities.set(name, counterOf(row, this.#slots, false, saved.windowMs))
        for (const [id, row] of templates) added.templates.set(id, counterOf(row, this.#slots, false, saved.windowMs))
      }
    } catch (cause) {
      throw new AppError('checkpoint_invalid', 'the open windows of logs in a checkpoint cannot be read', { cause })
    }
  }
}

function severityName(number: number): string {
  return number < 1 || number > 24 ? UNSET : SEVERITIES[(number - 1) >> 2]!
}

const hex = (lane: number): string => lane.toString(16).padStart(8, '0')
