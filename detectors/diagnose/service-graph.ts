// Who calls whom, as traces showed it: one bounded graph an environment, asked for neighbours and for nearness.
//
// Names: an edge's caller is an entity service (`shop/orders`), its callee may be only what the caller calls it (`store`).
// A name with and without namespace mean the same node as long as no second namespace uses that name.
// Owned by the diagnose reducer; saved with its state, rebuilt from the compacted topology topic when that is lost.

import type { Edge } from '../../schemas/topology.ts'

/** Per environment. Beyond it the edge seen longest ago makes room; 5,000 edges is a fleet of about a thousand services. */
export const EDGES_MAX = 5_000
/** Along call direction: an effect climbs this far through services that do not show it themselves. */
export const PATH_HOPS_MAX = 4

export interface ServiceGraph {
  readonly edges: Map<string, Edge>
  callees: Map<string, Set<string>>
  callers: Map<string, Set<string>>
  instrumented: Set<string>
  /** Name without namespace → namespaces that use it. */
  namespaces: Map<string, Set<string>>
}

/** A graph of the given edges. */
export function serviceGraph(edges: Iterable<Edge> = []): ServiceGraph {
  const graph: ServiceGraph = { edges: new Map(), callees: new Map(), callers: new Map(), instrumented: new Set(), namespaces: new Map() }
  for (const edge of edges) graph.edges.set(edgeName(edge), edge)
  reindex(graph)
  return graph
}

/** Takes an edge in. O(1) for a known one, O(edges) for a new one (rare). @returns true when the graph has another shape now */
export function addEdge(graph: ServiceGraph, edge: Edge): boolean {
  const name = edgeName(edge)
  const known = graph.edges.get(name)
  if (known !== undefined && known.lastSeenMs > edge.lastSeenMs) return false
  graph.edges.delete(name) // Set again at the end: the map's order is the order of last sight.
  graph.edges.set(name, edge)
  if (known !== undefined && known.instrumented === edge.instrumented) return false
  if (graph.edges.size > EDGES_MAX) graph.edges.delete(graph.edges.keys().next().value!)
  reindex(graph)
  return true
}

/** The node that a service name stands for. */
export function nodeOf(graph: ServiceGraph, service: string): string {
  const { namespace, base } = split(service)
  const known = graph.namespaces.get(base)
  const count = known === undefined ? 0 : known.size + (namespace === '' || known.has(namespace) ? 0 : 1)
  return count <= 1 ? base : service
}

/** Direct callees of a node. */
export function calleesOf(graph: ServiceGraph, node: string): ReadonlySet<string> {
  return graph.callees.get(node) ?? NONE
}

/** Direct callers of a node. */
export function callersOf(graph: ServiceGraph, node: string): ReadonlySet<string> {
  return graph.callers.get(node) ?? NONE
}

/** Direct callers of a node that were seen to call it at `sinceMs` or later, by name. O(edges) */
export function callersSince(graph: ServiceGraph, node: string, sinceMs: number): string[] {
  const callers = new Set<string>()
  for (const { source, target, lastSeenMs } of graph.edges.values()) {
    const caller = nodeOf(graph, source)
    if (lastSeenMs >= sinceMs && caller !== node && nodeOf(graph, target) === node) callers.add(caller)
  }
  return [...callers].sort()
}

/** Whether the node sends spans itself; one that only its clients know does not. */
export function isInstrumented(graph: ServiceGraph, node: string): boolean {
  return graph.instrumented.has(node)
}

/** Hops from `from` down the call direction to `to`, at most `hopsMax`; undefined when there is no such path. */
export function hopsDown(graph: ServiceGraph, from: string, to: string, hopsMax: number): number | undefined {
  let level = new Set([from])
  const seen = new Set(level)
  for (let hops = 0; hops <= hopsMax; hops++) {
    if (level.has(to)) return hops
    const next = new Set<string>()
    for (const node of level) for (const callee of calleesOf(graph, node)) if (!seen.has(callee)) next.add(callee)
    for (const node of next) seen.add(node)
    if (next.size === 0) return undefined
    level = next
  }
  return undefined
}

/**
 * Whether trouble of one may be trouble of the other: the same node, one below the other on a call path, or two that
 * share a direct callee or caller (the symptoms of a common dependency are often seen before its own).
 */
export function connected(graph: ServiceGraph, a: string, b: string): boolean {
  if (hopsDown(graph, a, b, PATH_HOPS_MAX) !== undefined || hopsDown(graph, b, a, PATH_HOPS_MAX) !== undefined) return true
  return overlaps(calleesOf(graph, a), calleesOf(graph, b)) || overlaps(callersOf(graph, a), callersOf(graph, b))
}

const NONE: ReadonlySet<string> = new Set()

function overlaps(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  for (const item of a) if (b.has(item)) return true
  return false
}

function edgeName(edge: Edge): string {
  return `${edge.source}>${edge.target}`
}

function split(service: string): { namespace: string; base: string } {
  const slash = service.indexOf('/')
  return slash <= 0 ? { namespace: '', base: service } : { namespace: service.slice(0, slash), base: service.slice(slash + 1) }
}

function reindex(graph: ServiceGraph): void {
  graph.namespaces = new Map()
  graph.callees = new Map()
  graph.callers = new Map()
  graph.instrumented = new Set()
  for (const edge of graph.edges.values()) {
    for (const service of [edge.source, edge.target]) {
      const { namespace, base } = split(service)
      const known = graph.namespaces.get(base) ?? new Set<string>()
      if (namespace !== '') known.add(namespace)
      graph.namespaces.set(base, known)
    }
  }
  for (const edge of graph.edges.values()) {
    const source = nodeOf(graph, edge.source)
    const target = nodeOf(graph, edge.target)
    graph.instrumented.add(source)
    if (edge.instrumented) graph.instrumented.add(target)
    if (source === target) continue // A service that calls itself says nothing about who broke whom.
    add(graph.callees, source, target)
    add(graph.callers, target, source)
  }
}

function add(map: Map<string, Set<string>>, key: string, value: string): void {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([value]))
  else set.add(value)
}
