// Spans become series: per entity and operation, and per call to a peer, requests, errors and durations of each window.
//
// Flow: worker (reads homeostat.spans.v1) -> spans -> derived points -> homeostat.metrics.v1; edges -> homeostat.topology.v1; outcomes
// by version, while a service runs several (versions.ts) -> homeostat.versions.v1.
// Server and consumer spans count for the entity that emitted them (`homeostat.span.*`, attribute `operation`); client and
// producer spans count on the edge to their peer (`homeostat.edge.*`, attribute `peer`), which is where a callee that hangs
// and says nothing itself shows up: its callers' spans time out. A span counts in the window in which it ended.
// State: open windows and the service graph, JSON parts of the checkpoint; recent spans are only in memory.

import { AppError } from '../../schemas/errors.ts'
import { entityService } from '../../schemas/entity.ts'
import type { DerivedPoint, SpanSink, SpanView } from '../../schemas/otlp.ts'
import type { Edge } from '../../schemas/topology.ts'
import type { VersionWindow } from '../../schemas/version-window.ts'
import { addValue } from '../score/exponential.ts'
import { EdgeTable } from './edges.ts'
import { entityParts } from './entity-parts.ts'
import { spanLinks } from './recent-spans.ts'
import { SourceTable } from './sources.ts'
import { type HeardVersions, runsBeside, ServiceVersions, VERSIONS_MAX, versionWindow } from './versions.ts'
import {
  closeSlots,
  completeThroughMs,
  type Counter,
  counterOf,
  counterRow,
  heard,
  newCounter,
  pointBase,
  type Slot,
  slotAt,
  slotsNeeded,
  type Source,
  type WindowSettings
} from './window.ts'

const KIND = { server: 2, client: 3, producer: 4, consumer: 5 } as const
const STATUS_ERROR = 2
const MS_PER_S = 1_000

/** Operations and peers of one entity that get series of their own; further ones count as `other`. Span names are meant to be few. */
const LABELS_MAX = 50
const OTHER = 'other'
/** Parties and addresses are numbered for the table of recent spans; beyond this the numbering starts anew. */
const NAMES_MAX = 50_000

interface SpanSource extends Source {
  /** Index in `parties`. */
  party: number
  operations: Map<string, Counter>
  peers: Map<string, Counter>
  /** Counted only beside other versions of its service. */
  versions: Map<string, Counter>
  /** Versions of its service; null until a span of it names one. */
  siblings: HeardVersions | null
  /** Hash of a span's name -> its counter: no string is made for a name that was seen. */
  byNameHash: Map<number, Counter>
}

export interface SpanStats {
  spans: number
  late: number
  refused: number
}

export class SpanDeriver implements SpanSink {
  readonly stats: SpanStats = { spans: 0, late: 0, refused: 0 }
  readonly #settings: WindowSettings
  readonly #slots: number
  readonly #sources = new SourceTable<SpanSource>(source => {
    const made: SpanSource = {
      ...source,
      party: this.#parties.length,
      operations: new Map(),
      peers: new Map(),
      versions: new Map(),
      siblings: null,
      byNameHash: new Map()
    }
    this.#parties.push(made)
    return made
  })
  readonly #parties: SpanSource[] = []
  #addresses: string[] = ['']
  readonly #addressNumbers = new Map<string, number>()
  #edges = new EdgeTable()
  #services = new ServiceVersions()
  #spans = spanLinks()
  #waiting = spanLinks()
  #arrivalMs = 0

  constructor(settings: WindowSettings, parts?: ReadonlyMap<string, Uint8Array>) {
    this.#settings = settings
    this.#slots = slotsNeeded(settings)
    const saved = parts?.get('spans')
    if (saved) this.#restore(saved)
  }

  /** The log took the following spans at `arrivalMs`. */
  begin(arrivalMs: number): void {
    this.#arrivalMs = Math.max(this.#arrivalMs, arrivalMs)
  }

  span(view: SpanView): void {
    this.stats.spans++
    const source = this.#sources.of(view.resource)
    if (source === undefined) {
      this.stats.refused++
      return
    }
    const endMs = view.timeMs + view.durationMs
    heard(source, endMs, this.#arrivalMs)
    const isCall = view.kind === KIND.client || view.kind === KIND.producer
    const address = isCall ? peerAddress(view) : ''
    this.#link(view, source, address, endMs)
    if (isCall) {
      if (address === '') return
      const service = entityService(source.entity)
      const known = this.#edges.serviceAt(source.environment, service, address)
      if (known === undefined) this.#edges.call(source.environment, service, address, endMs)
      this.#countOrLate(this.#labelled(source.peers, 'peer', known ?? address), source, view, endMs)
    } else if (view.kind === KIND.server || view.kind === KIND.consumer) {
      let counter = source.byNameHash.get(view.nameHash)
      if (counter === undefined) {
        counter = this.#labelled(source.operations, 'operation', view.name())
        // Names beyond the limit share the counter `other`; remembering their hashes would be unbounded.
        if (counter.attributes['operation'] !== OTHER) source.byNameHash.set(view.nameHash, counter)
      }
      this.#countOrLate(counter, source, view, endMs)
      if (view.resource.version !== '') this.#countVersion(view.resource.version, source, view, endMs)
    }
  }

  /** Tells what is complete at `nowMs` of the log's clock. */
  advance(nowMs: number, into: DerivedPoint[], edges: Edge[], versions: VersionWindow[]): void {
    const { windowMs } = this.#settings
    for (const source of this.#sources.values()) {
      const throughMs = completeThroughMs(source, nowMs, this.#settings)
      if (throughMs <= source.closedThroughMs) continue
      source.closedThroughMs = throughMs
      const entity = entityParts(source.entity, source.environment)
      for (const counter of source.operations.values())
        closeSlots(counter, throughMs, windowMs, slot => this.#tell('span', entity, source, counter, slot, into))
      for (const counter of source.peers.values()) closeSlots(counter, throughMs, windowMs, slot => this.#tell('edge', entity, source, counter, slot, into))
      for (const [version, counter] of source.versions)
        closeSlots(counter, throughMs, windowMs, slot => versions.push(versionWindow(source, version, slot, this.#settings)))
    }
    edges.push(...this.#edges.take())
  }

  parts(): Map<string, Uint8Array> {
    const sources = [...this.#sources.values()].map(
      ({ operations, peers, versions, party: _party, siblings: _siblings, byNameHash: _byNameHash, ...source }) => ({
        ...source,
        operations: counterRows(operations),
        peers: counterRows(peers),
        versions: counterRows(versions)
      })
    )
    const saved = { windowMs: this.#settings.windowMs, sources, edges: this.#edges.toJson(), services: this.#services.toJson() }
    return new Map([['spans', new TextEncoder().encode(JSON.stringify(saved))]])
  }

  #labelled(counters: Map<string, Counter>, attribute: string, label: string): Counter {
    const name = counters.has(label) || counters.size < LABELS_MAX ? label : OTHER
    let counter = counters.get(name)
    if (counter === undefined) {
      counter = newCounter({ [attribute]: name }, this.#slots, true)
      counters.set(name, counter)
    }
    return counter
  }

  #countOrLate(counter: Counter, source: Source, view: SpanView, endMs: number): void {
    if (!this.#count(counter, source, view, endMs)) this.stats.late++
  }

  /** For the comparison of versions, while another one of the service runs. */
  #countVersion(version: string, source: SpanSource, view: SpanView, endMs: number): void {
    source.siblings ??= this.#services.of(source) ?? null
    // The source's own event time is capped by the log's clock: a wrong clock must not keep a version running.
    if (source.siblings === null || !runsBeside(source.siblings, version, Math.min(endMs, source.maxEventMs))) return
    let counter = source.versions.get(version)
    if (counter === undefined) {
      // The first is the one deployed longest ago.
      if (source.versions.size >= VERSIONS_MAX) source.versions.delete(source.versions.keys().next().value!)
      counter = newCounter({}, this.#slots, true)
      source.versions.set(version, counter)
    }
    this.#count(counter, source, view, endMs)
  }

  /** @returns false when the window was told already */
  #count(counter: Counter, source: Source, view: SpanView, endMs: number): boolean {
    const slot = slotAt(counter, source, endMs, this.#settings)
    if (slot === undefined) return false
    const seconds = Math.max(0, view.durationMs) / MS_PER_S
    slot.count++
    if (view.status === STATUS_ERROR) slot.errors++
    slot.sum += seconds
    if (seconds < slot.min) slot.min = seconds
    if (seconds > slot.max) slot.max = seconds
    addValue(slot.duration!, seconds)
    return true
  }

  /** Finds the caller of this span, or the callees that waited for it. */
  #link(view: SpanView, source: SpanSource, address: string, endMs: number): void {
    this.#spans.put(view.spanIdLow, view.spanIdHigh, source.party, this.#addressNumber(address))
    const child = this.#waiting.find(view.spanIdLow, view.spanIdHigh)
    if (child >= 0) this.#relate(source, this.#parties[this.#waiting.party(child)]!, address, endMs)
    if (view.parentIdLow === 0 && view.parentIdHigh === 0) return
    const parent = this.#spans.find(view.parentIdLow, view.parentIdHigh)
    if (parent >= 0) this.#relate(this.#parties[this.#spans.party(parent)]!, source, this.#addresses[this.#spans.address(parent)]!, endMs)
    else if (view.kind === KIND.server || view.kind === KIND.consumer) this.#waiting.put(view.parentIdLow, view.parentIdHigh, source.party, 0)
  }

  #relate(caller: Source, callee: Source, address: string, timeMs: number): void {
    if (caller.entity === callee.entity || caller.environment !== callee.environment) return
    this.#edges.relate(caller.environment, entityService(caller.entity), entityService(callee.entity), address, timeMs)
  }

  #addressNumber(address: string): number {
    if (address === '') return 0
    const known = this.#addressNumbers.get(address)
    if (known !== undefined) return known
    if (this.#addresses.length >= NAMES_MAX) {
      this.#addresses = ['']
      this.#addressNumbers.clear()
      this.#spans = spanLinks()
    }
    const number = this.#addresses.push(address) - 1
    this.#addressNumbers.set(address, number)
    return number
  }

  #tell(kind: 'span' | 'edge', entity: DerivedPoint['entity'], source: Source, { attributes }: Counter, slot: Slot, into: DerivedPoint[]): void {
    const base = { ...pointBase(entity, source, slot, this.#settings), attributes }
    const { scale, offset, length, zeroCount, counts } = slot.duration!
    into.push(
      { ...base, name: `homeostat.${kind}.requests`, unit: '{request}', data: { kind: 'deltaSum', value: slot.count } },
      { ...base, name: `homeostat.${kind}.errors`, unit: '{error}', data: { kind: 'deltaSum', value: slot.errors } },
      {
        ...base,
        name: `homeostat.${kind}.duration`,
        unit: 's',
        data: {
          kind: 'deltaExponentialHistogram',
          count: slot.count,
          sum: slot.sum,
          min: slot.min,
          max: slot.max,
          scale,
          zeroCount,
          offset,
          counts: [...counts.subarray(0, length)]
        }
      }
    )
  }

  #restore(bytes: Uint8Array): void {
    try {
      type Rows = [string, unknown][]
      type SourceRow = Source & { operations: Rows; peers: Rows; versions?: Rows }
      const saved = JSON.parse(new TextDecoder().decode(bytes)) as { windowMs: number; sources: SourceRow[]; edges: unknown; services?: unknown }
      this.#edges = EdgeTable.fromJson(saved.edges)
      // An earlier release counted nothing by version.
      this.#services = ServiceVersions.fromJson(saved.services ?? [])
      // Windows of another length cannot be continued; they were at most a few seconds of counts.
      const isSameWindow = saved.windowMs === this.#settings.windowMs
      for (const { operations, peers, versions = [], ...source } of saved.sources) {
        const added = this.#sources.add(source)
        if (added === undefined || !isSameWindow) continue
        for (const [label, row] of operations) added.operations.set(label, counterOf(row, this.#slots, true, saved.windowMs))
        for (const [label, row] of peers) added.peers.set(label, counterOf(row, this.#slots, true, saved.windowMs))
        for (const [version, row] of versions) added.versions.set(version, counterOf(row, this.#slots, true, saved.windowMs))
      }
    } catch (cause) {
      throw new AppError('checkpoint_invalid', 'the open windows of spans in a checkpoint cannot be read', { cause })
    }
  }
}

function counterRows(counters: ReadonlyMap<string, Counter>): [string, unknown][] {
  return [...counters].map(([label, counter]) => [label, counterRow(counter)])
}

/** What a client span says about whom it called: a name where it gives one, else host and port, else the kind of system. */
function peerAddress(view: SpanView): string {
  const named = view.attribute('peer.service')
  if (named) return named
  const host = view.attribute('server.address') ?? view.attribute('net.peer.name') ?? view.attribute('network.peer.address') ?? view.attribute('net.peer.ip')
  if (host) {
    const port = view.attribute('server.port') ?? view.attribute('net.peer.port') ?? view.attribute('network.peer.port')
    return port ? `${host}:${port}` : host
  }
  return view.attribute('db.system.name') ?? view.attribute('db.system') ?? view.attribute('messaging.system') ?? view.attribute('rpc.service') ?? ''
}
