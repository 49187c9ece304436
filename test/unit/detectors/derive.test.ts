import { describe, expect, it } from 'vitest'
import { LogDeriver } from '../../../detectors/derive/logs.ts'
import { SpanDeriver } from '../../../detectors/derive/spans.ts'
import { templater } from '../../../detectors/derive/template.ts'
import { shardOf } from '../../../detectors/score/windows.ts'
import type { DerivedPoint } from '../../../schemas/otlp.ts'
import type { Edge } from '../../../schemas/topology.ts'
import type { VersionWindow } from '../../../schemas/version-window.ts'
import { aLog, aSpan, type LogOverrides, type SpanOverrides, START_MS } from './builders.ts'

const SETTINGS = { windowMs: 10_000, latenessMs: 5_000, shard: 2 }
const at = (second: number): number => START_MS + second * 1_000

function aSpanDeriver(parts?: ReadonlyMap<string, Uint8Array>) {
  const deriver = new SpanDeriver(SETTINGS, parts)
  return {
    deriver,
    spans(arrivalMs: number, ...overrides: SpanOverrides[]): void {
      deriver.begin(arrivalMs)
      for (const span of overrides) deriver.span(aSpan(span))
    },
    advance(nowMs: number): { points: DerivedPoint[]; edges: Edge[]; versions: VersionWindow[] } {
      const points: DerivedPoint[] = []
      const edges: Edge[] = []
      const versions: VersionWindow[] = []
      deriver.advance(nowMs, points, edges, versions)
      return { points, edges, versions }
    }
  }
}

const countOf = (points: readonly DerivedPoint[], name: string, label?: string): number | undefined => {
  const point = points.find(candidate => candidate.name === name && (label === undefined || Object.values(candidate.attributes).includes(label)))
  return point?.data.kind === 'deltaSum' ? point.data.value : undefined
}

describe('spans become series', () => {
  it('counts requests, errors and durations of a window per entity and operation', () => {
    const { spans, advance, deriver } = aSpanDeriver()
    spans(
      at(1),
      { timeMs: at(0), durationMs: 100 },
      { timeMs: at(1), durationMs: 300, status: 2 },
      { timeMs: at(2), durationMs: 10, name: 'POST /orders' },
      { timeMs: at(2), kind: 1 }
    )
    expect(advance(at(10)).points).toEqual([])
    const { points } = advance(at(17))
    expect(points.length).toBe(6)
    expect(countOf(points, 'homeostat.span.requests', 'GET /orders')).toBe(2)
    expect(countOf(points, 'homeostat.span.errors', 'GET /orders')).toBe(1)
    expect(countOf(points, 'homeostat.span.errors', 'POST /orders')).toBe(0)
    const duration = points.find(point => point.name === 'homeostat.span.duration')!
    expect(duration).toMatchObject({ unit: 's', timeMs: at(10), entity: { namespace: 'shop', service: 'orders', instance: 'orders-1', environment: 'test' } })
    expect(duration.data).toMatchObject({ kind: 'deltaExponentialHistogram', count: 2, min: 0.1, max: 0.3, zeroCount: 0 })
    if (duration.data.kind === 'deltaExponentialHistogram') {
      expect(duration.data.sum).toBeCloseTo(0.4, 9)
      expect(duration.data.counts.reduce((a, b) => a + b)).toBe(2)
      const lowest = 2 ** (duration.data.offset / 2 ** duration.data.scale)
      expect(lowest).toBeLessThan(0.1)
      expect(lowest).toBeGreaterThan(0.09)
    }
    expect(shardOf(duration.startMs)).toBe(2)
    expect(Math.floor(duration.startMs)).toBe(at(0))
    expect(deriver.stats).toEqual({ spans: 4, late: 0, refused: 0 })
  })

  it('tells each window once; what comes later for it is late', () => {
    const { spans, advance, deriver } = aSpanDeriver()
    spans(at(1), { timeMs: at(1) })
    spans(at(16), { timeMs: at(16) })
    expect(advance(at(16)).points.length).toBe(3)
    spans(at(17), { timeMs: at(2) })
    expect(advance(at(17)).points).toEqual([])
    expect(deriver.stats.late).toBe(1)
    expect(advance(at(40)).points.map(point => point.timeMs)).toEqual([at(20), at(20), at(20)])
  })

  it('closes windows by the clock of the log when the sender is silent, whatever its own clock says', () => {
    const { spans, advance } = aSpanDeriver()
    spans(at(1_000), { timeMs: at(3), durationMs: 0 })
    expect(advance(at(1_005)).points).toEqual([])
    expect(advance(at(1_013)).points.length).toBe(3)
  })

  it('keeps operations bounded: further ones count as other', () => {
    const { spans, advance } = aSpanDeriver()
    for (let i = 0; i < 200; i++) spans(at(1), { timeMs: at(1), name: `GET /orders/${i}` })
    const { points } = advance(at(30))
    const labels = new Set(points.map(point => point.attributes['operation']))
    expect(labels.size).toBe(51)
    expect(countOf(points, 'homeostat.span.requests', 'other')).toBe(150)
  })

  it('counts a call to a callee that hangs and says nothing on the edge to it', () => {
    const { spans, advance } = aSpanDeriver()
    const client = { entity: 'gateway', kind: 3, attributes: { 'server.address': '10.0.0.7', 'server.port': '8080' } }
    spans(at(1), { ...client, timeMs: at(0), durationMs: 100, spanIdLow: 11, spanIdHigh: 1 })
    spans(at(1), { entity: 'shop/orders@orders-1', timeMs: at(0), durationMs: 90, parentIdLow: 11, parentIdHigh: 1 })
    spans(at(15), { ...client, timeMs: at(12), durationMs: 3_000, status: 2 }, { ...client, timeMs: at(12), durationMs: 3_000, status: 2 })
    const { points } = advance(at(40))
    const late = points.filter(point => point.timeMs === at(20))
    expect(countOf(late, 'homeostat.edge.errors', 'shop/orders')).toBe(2)
    expect(late.find(point => point.name === 'homeostat.edge.duration')!.entity.service).toBe('gateway')
  })
})

describe('service graph', () => {
  const client = { entity: 'gateway@g1', kind: 3, attributes: { 'server.address': 'orders', 'server.port': '80' } }
  const parent = { spanIdLow: 5, spanIdHigh: 6 }
  const child = { entity: 'orders@o1', parentIdLow: 5, parentIdHigh: 6 }

  it('joins caller and callee whichever span arrives first', () => {
    for (const order of ['caller first', 'callee first']) {
      const { spans, advance } = aSpanDeriver()
      if (order === 'caller first') spans(at(1), { ...client, ...parent }, child)
      else spans(at(1), child, { ...client, ...parent })
      expect(advance(at(2)).edges).toEqual([{ environment: 'test', source: 'gateway', target: 'orders', instrumented: true, lastSeenMs: START_MS + 10 }])
      spans(at(20), { ...client, ...parent, timeMs: at(20) }, { ...child, timeMs: at(20) })
      expect(advance(at(21)).edges).toEqual([])
      spans(at(61), { ...client, ...parent, timeMs: at(61) }, { ...child, timeMs: at(61) })
      expect(advance(at(62)).edges.length).toBe(1)
    }
  })

  it('names a callee without spans by its address, but only once traces had time to explain it', () => {
    const { spans, advance } = aSpanDeriver()
    const db = { entity: 'orders@o1', kind: 3, attributes: { 'db.system': 'postgresql', 'server.address': 'db', 'server.port': '5432' } }
    spans(at(1), db)
    expect(advance(at(2)).edges).toEqual([])
    spans(at(40), { ...db, timeMs: at(40) })
    expect(advance(at(41)).edges).toMatchObject([{ source: 'orders', target: 'db:5432', instrumented: false }])
  })

  it('draws no edge between instances of one entity or into another environment', () => {
    const { spans, advance } = aSpanDeriver()
    spans(at(1), { entity: 'orders@o1', kind: 3, ...parent }, child)
    expect(advance(at(2)).edges).toEqual([])
  })
})

describe('logs become series', () => {
  function aLogDeriver(parts?: ReadonlyMap<string, Uint8Array>) {
    const deriver = new LogDeriver(SETTINGS, parts)
    return {
      deriver,
      logs(arrivalMs: number, ...overrides: LogOverrides[]): void {
        deriver.begin(arrivalMs)
        for (const log of overrides) deriver.log(aLog(log))
      },
      advance(nowMs: number): DerivedPoint[] {
        const points: DerivedPoint[] = []
        deriver.advance(nowMs, points)
        return points
      }
    }
  }

  it('counts severities, and templates from warning on', () => {
    const { logs, advance } = aLogDeriver()
    logs(at(1), { timeMs: at(1) }, { timeMs: at(1), body: 'request 17 took 3ms' })
    for (let i = 0; i < 5; i++) logs(at(2), { timeMs: at(2), severityNumber: 17, body: `cannot reach 10.0.0.${i}:5432 after ${i}ms` })
    logs(at(2), { timeMs: at(2), severityNumber: 13, body: 'pool is "nearly" full' })
    const points = advance(at(30))
    const told = points.map(point => [
      point.name,
      point.attributes['severity'],
      point.attributes['pattern'],
      point.data.kind === 'deltaSum' ? point.data.value : 0
    ])
    expect(told).toEqual([
      ['homeostat.log.records', 'INFO', undefined, 2],
      ['homeostat.log.records', 'ERROR', undefined, 5],
      ['homeostat.log.records', 'WARN', undefined, 1],
      ['homeostat.log.template', 'ERROR', 'cannot reach <ip> after <duration>', 5],
      ['homeostat.log.template', 'WARN', 'pool is <text> full', 1]
    ])
    expect(points[3]!.attributes['template']).toMatch(/^[0-9a-f]{16}$/)
  })

  it('keeps templates bounded and counts those that made room', () => {
    const { logs, deriver } = aLogDeriver()
    const letters = (n: number): string => [...String(n)].map(digit => 'abcdefghij'[Number(digit)]).join('')
    for (let i = 0; i < 500; i++) logs(at(1), { timeMs: at(1), severityNumber: 17, body: `failure kind ${letters(i)}` })
    expect(deriver.stats).toMatchObject({ logs: 500, templatesEvicted: 300 })
  })

  it('continues open windows from a checkpoint', () => {
    const first = aLogDeriver()
    first.logs(at(1), { timeMs: at(1), severityNumber: 17, body: 'boom' })
    const second = aLogDeriver(first.deriver.parts())
    second.logs(at(2), { timeMs: at(2), severityNumber: 17, body: 'boom' })
    expect(second.advance(at(30)).map(point => point.data)).toEqual([
      { kind: 'deltaSum', value: 2 },
      { kind: 'deltaSum', value: 2 }
    ])
  })
})

describe('spans survive a restart', () => {
  it('continues open windows and the service graph from a checkpoint', () => {
    const whole = aSpanDeriver()
    const first = aSpanDeriver()
    const early: SpanOverrides[] = [
      { timeMs: at(1), durationMs: 20, status: 2 },
      { entity: 'gateway', kind: 3, timeMs: at(1), attributes: { 'server.address': 'db' } }
    ]
    const late: SpanOverrides[] = [
      { timeMs: at(3), durationMs: 40 },
      { entity: 'gateway', kind: 3, timeMs: at(45), attributes: { 'server.address': 'db' } }
    ]
    whole.spans(at(2), ...early)
    first.spans(at(2), ...early)
    const second = aSpanDeriver(first.deriver.parts())
    whole.spans(at(45), ...late)
    second.spans(at(45), ...late)
    const expected = whole.advance(at(100))
    expect(expected.points.length).toBeGreaterThan(0)
    expect(expected.edges.length).toBe(1)
    expect(second.advance(at(100))).toEqual(expected)
  })
})

describe('log templates', () => {
  const encoder = new TextEncoder()
  const templates = templater()
  const mask = (text: string): string => {
    const bytes = encoder.encode(text)
    templates.mask(bytes, 0, bytes.length)
    return templates.text()
  }

  it('masks what varies and keeps what does not', () => {
    expect(mask('user 42 logged in from 10.1.2.3:5050 in 12.5ms')).toBe('user <n> logged in from <ip> in <duration>')
    expect(mask('open /var/log/app.log: no such file')).toBe('open <path> no such file')
    expect(mask('order 1b4e28ba-2fa1-11d2-883f-0016d3cca427 failed')).toBe('order <uuid> failed')
    expect(mask('at 0x7ffe12 in deadbeef01')).toBe('at <hex> in <hex>')
    expect(mask('retry (3/5), state=OPEN')).toBe('retry (<n>/<n>), state=OPEN')
    expect(mask("can't parse 'abc def'")).toBe("can't parse <text>")
    expect(mask('worker-17 said   "hello"')).toBe('worker-<n> said <text>')
    expect(mask('2026-11-21 08:00:00 boot')).toBe('<n> <n> boot')
    expect(mask('')).toBe('')
  })

  it('stays in bounds on long and broken text', () => {
    expect(mask('9 '.repeat(5_000)).length).toBeLessThan(2_048)
    expect(mask('x'.repeat(100_000)).length).toBe(512)
    const broken = Uint8Array.from({ length: 600 }, (_, i) => (i * 37) % 256)
    templates.mask(broken, 0, broken.length)
    expect(templates.text().length).toBeLessThan(4_096)
  })

  it('gives different templates different hashes', () => {
    const seen = new Set<string>()
    for (let i = 0; i < 5_000; i++) {
      mask(`failure ${[...String(i)].map(digit => 'abcdefghij'[Number(digit)]).join('')}`)
      seen.add(`${templates.hashHigh} ${templates.hashLow}`)
    }
    expect(seen.size).toBe(5_000)
  })
})
