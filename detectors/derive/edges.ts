// The service graph of one shard: who calls whom, as traces show it, and which address belongs to which service.
//
// Flow: spans.ts (a call, a relation between two services) -> edges -> homeostat.topology.v1 (compacted by edge).
// A callee that sends spans is known by name; an address that no trace explains within GRACE_MS is a callee without
// instrumentation (a database, a broker, somebody else's API). Both survive a restart (part `edges`).

import type { Edge } from '../../schemas/topology.ts'

/** An edge is told again this often while it is seen, so that the last record says whether it still exists. */
const REFRESH_MS = 60_000
/** An address is given so long to be explained by a trace before it is told as a callee without instrumentation. */
const GRACE_MS = 30_000
const EDGES_MAX = 20_000
const ADDRESSES_MAX = 20_000

interface KnownEdge extends Edge {
  firstSeenMs: number
  toldMs: number
}

export class EdgeTable {
  readonly #edges = new Map<string, KnownEdge>()
  /** `environment\nsource\naddress` -> service. */
  readonly #services = new Map<string, string>()
  /** Edges and addresses that did not fit. */
  refused = 0

  /** Service behind an address as its caller sees it, once a trace has shown it. */
  serviceAt(environment: string, source: string, address: string): string | undefined {
    return this.#services.get(`${environment}\n${source}\n${address}`)
  }

  /** A trace showed that `source` reached `target`, at `address` when the caller said so. */
  relate(environment: string, source: string, target: string, address: string, timeMs: number): void {
    if (source === target) return
    if (address !== '') {
      const name = `${environment}\n${source}\n${address}`
      if (this.#services.has(name) || this.#services.size < ADDRESSES_MAX) this.#services.set(name, target)
      else this.refused++
      if (address !== target) this.#edges.delete(key(environment, source, address))
    }
    this.#see(environment, source, target, true, timeMs)
  }

  /** `source` called something that no trace has named yet. */
  call(environment: string, source: string, address: string, timeMs: number): void {
    if (address !== source) this.#see(environment, source, address, false, timeMs)
  }

  /** Edges to tell: new ones and those due for a refresh. */
  take(): Edge[] {
    const told: Edge[] = []
    for (const edge of this.#edges.values()) {
      const isRipe = edge.instrumented || edge.lastSeenMs - edge.firstSeenMs >= GRACE_MS
      if (!isRipe || edge.lastSeenMs - edge.toldMs < REFRESH_MS) continue
      edge.toldMs = edge.lastSeenMs
      const { environment, source, target, instrumented, lastSeenMs } = edge
      told.push({ environment, source, target, instrumented, lastSeenMs })
    }
    return told
  }

  toJson(): unknown {
    return { edges: [...this.#edges.values()], services: [...this.#services] }
  }

  static fromJson(json: unknown): EdgeTable {
    const table = new EdgeTable()
    const saved = json as { edges: KnownEdge[]; services: [string, string][] }
    for (const edge of saved.edges) table.#edges.set(key(edge.environment, edge.source, edge.target), edge)
    for (const [name, service] of saved.services) table.#services.set(name, service)
    return table
  }

  #see(environment: string, source: string, target: string, instrumented: boolean, timeMs: number): void {
    const name = key(environment, source, target)
    const known = this.#edges.get(name)
    if (known !== undefined) {
      known.lastSeenMs = Math.max(known.lastSeenMs, timeMs)
      if (instrumented && !known.instrumented) {
        known.instrumented = true
        known.toldMs = 0
      }
    } else if (this.#edges.size < EDGES_MAX) {
      this.#edges.set(name, { environment, source, target, instrumented, lastSeenMs: timeMs, firstSeenMs: timeMs, toldMs: 0 })
    } else {
      this.refused++
    }
  }
}

const key = (environment: string, source: string, target: string): string => `${environment}\n${source}\n${target}`
