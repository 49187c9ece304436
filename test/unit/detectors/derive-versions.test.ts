import { describe, expect, it } from 'vitest'
import { SpanDeriver } from '../../../detectors/derive/spans.ts'
import type { VersionWindow } from '../../../schemas/version-window.ts'
import { aSpan, at, type SpanOverrides } from './builders.ts'

const SETTINGS = { windowMs: 10_000, latenessMs: 5_000, shard: 2 }
const STABLE = { entity: 'shop/orders@stable-1', version: '1.0.0' }
const CANARY = { entity: 'shop/orders@canary-1', version: '2.0.0' }

function aDeriver(parts?: ReadonlyMap<string, Uint8Array>) {
  const deriver = new SpanDeriver(SETTINGS, parts)
  return {
    deriver,
    spans(arrivalMs: number, ...overrides: SpanOverrides[]): void {
      deriver.begin(arrivalMs)
      for (const span of overrides) deriver.span(aSpan(span))
    },
    told(nowMs: number): VersionWindow[] {
      const versions: VersionWindow[] = []
      deriver.advance(nowMs, [], [], versions)
      return versions
    }
  }
}

describe('outcomes by version', () => {
  it('are told of each window, instance and version while a service runs several', () => {
    const { spans, told } = aDeriver()
    spans(at(1), { ...STABLE, timeMs: at(1) }, { ...CANARY, timeMs: at(1), status: 2, durationMs: 100 }, { ...CANARY, timeMs: at(2) })
    spans(at(3), { ...STABLE, timeMs: at(3) }, { ...STABLE, timeMs: at(4) })
    const windows = told(at(20))
    expect(windows.map(({ version, entity, requests, errors }) => [version, entity, requests, errors])).toEqual([
      ['1.0.0', 'shop/orders@stable-1', 2, 0], // Its first request came when nothing ran beside it.
      ['2.0.0', 'shop/orders@canary-1', 2, 1]
    ])
    expect(windows[1]).toMatchObject({ environment: 'test', service: 'shop/orders', shard: 2, startMs: at(0), windowMs: 10_000 })
    expect(windows[1]!.duration.counts.reduce((sum, count) => sum + count)).toBe(2)
    expect(told(at(40))).toEqual([])
  })

  it('are not told of a service with one version, of calls, of spans that name none, nor of another service or environment', () => {
    const { spans, told } = aDeriver()
    for (const second of [1, 2, 3])
      spans(
        at(second),
        { ...STABLE, timeMs: at(second) },
        { ...CANARY, entity: 'shop/payments@p1', timeMs: at(second) },
        { entity: 'shop/orders@old', timeMs: at(second) },
        { ...CANARY, kind: 3, timeMs: at(second), attributes: { 'server.address': 'db' } }
      )
    expect(told(at(40))).toEqual([])
  })

  it('end when the other version is unheard for ten minutes', () => {
    const { spans, told } = aDeriver()
    spans(at(1), { ...STABLE, timeMs: at(1) }, { ...CANARY, timeMs: at(1) }, { ...STABLE, timeMs: at(2) })
    expect(told(at(20)).length).toBe(2)
    spans(at(500), { ...STABLE, timeMs: at(500) })
    expect(told(at(520)).length).toBe(1)
    spans(at(700), { ...STABLE, timeMs: at(700) })
    expect(told(at(720))).toEqual([])
  })

  it('a late request is counted as late once', () => {
    const { spans, told, deriver } = aDeriver()
    spans(at(1), { ...STABLE, timeMs: at(1) }, { ...CANARY, timeMs: at(1) })
    told(at(20))
    spans(at(21), { ...CANARY, timeMs: at(2) })
    expect(deriver.stats.late).toBe(1)
  })

  it('an instance that was deployed many times keeps a bounded number of versions, the latest among them', () => {
    const { spans, told } = aDeriver()
    for (let deploy = 0; deploy < 30; deploy++) spans(at(1), { ...STABLE, version: `1.0.${deploy}`, timeMs: at(1) })
    const versions = told(at(40)).map(({ version }) => version)
    expect(versions.length).toBeLessThanOrEqual(8)
    expect(versions).toContain('1.0.29')
  })

  it('a deriver that goes on from its checkpoint tells what an undisturbed one does', () => {
    const whole = aDeriver()
    const first = aDeriver()
    for (const each of [whole, first]) each.spans(at(1), { ...STABLE, timeMs: at(1) }, { ...CANARY, timeMs: at(1), status: 2 })
    const second = aDeriver(first.deriver.parts())
    for (const each of [whole, second]) each.spans(at(3), { ...STABLE, timeMs: at(3) }, { ...CANARY, timeMs: at(3) })
    const expected = whole.told(at(30))
    expect(expected.map(({ requests }) => requests).sort()).toEqual([1, 2])
    expect(second.told(at(30))).toEqual(expected)
  })
})
