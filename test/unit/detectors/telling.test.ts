import { describe, expect, it } from 'vitest'
import { DescriptorTable } from '../../../detectors/score/descriptor.ts'
import { formatDuration, formatValue } from '../../../detectors/score/format.ts'
import { metricClass, severityOf, variantOf } from '../../../detectors/score/metric-class.ts'
import { POINT_KIND, TEMPORALITY } from '../../../schemas/otlp.ts'

describe('numbers for people', () => {
  it.each([
    [142_300_000, 'By', false, '142 MB'],
    [1_500, 'By', true, '1.5 kB/s'],
    [0.0204, 's', false, '20.4 ms'],
    [1.84, 's', false, '1.8 s'],
    [400, 'ms', false, '400 ms'],
    [0.35, 's', true, '35 % of one core'],
    [0.125, '1', false, '12.5 %'],
    [7, '1', false, '7'],
    [30, '{error}', true, '30 errors/s'],
    [1, '{item}', false, '1 item'],
    [0, '{item}', false, '0 items'],
    [3, '', false, '3'],
    [Number.NaN, 's', false, 'unknown']
  ] as const)('%d %s (per second: %s) is %s', (value, unit, rate, text) => {
    expect(formatValue(value, unit, rate)).toBe(text)
  })

  it('tells durations in the largest sensible unit', () => {
    expect([250, 4_000, 125_000, 7_200_000].map(formatDuration)).toEqual(['250 ms', '4 s', '2 min 5 s', '2 h'])
  })
})

describe('metric classes', () => {
  it.each([
    ['homeostat.span.errors', 'errors'],
    ['homeostat.edge.error_ratio', 'errors'],
    ['homeostat.span.duration', 'latency'],
    ['homeostat.edge.requests', 'traffic'],
    ['http.server.request.duration', 'latency'],
    ['db.client.operation.duration', 'latency'],
    ['process.memory.usage', 'saturation'],
    ['v8js.memory.heap.used', 'saturation'],
    ['system.memory.utilization', 'saturation'],
    ['process.cpu.utilization', 'cpu'],
    ['system.cpu.time', 'cpu'],
    ['nodejs.eventloop.utilization', 'saturation'],
    ['messaging.queue.depth', 'saturation'],
    ['system.network.io', 'traffic'],
    ['system.disk.operation_time', 'traffic'],
    ['room.temperature', 'other']
  ])('%s is %s', (name, expected) => {
    expect(metricClass(name, '').name).toBe(expected)
  })

  it('takes only errors among logs as harm', () => {
    expect(metricClass('homeostat.log.records', 'ERROR').name).toBe('errors')
    expect(metricClass('homeostat.log.template', 'FATAL').name).toBe('errors')
    expect(metricClass('homeostat.log.template', 'WARN').name).toBe('traffic')
    expect(metricClass('homeostat.log.records', 'INFO').name).toBe('traffic')
  })

  it('takes unused capacity as nothing that can hurt', () => {
    const idle = variantOf('system.cpu.time', { 'system.cpu.logical_number': '0', 'system.cpu.state': 'idle' })
    expect(metricClass('system.cpu.time', idle)).toMatchObject({ above: null, below: null })
    expect(metricClass('system.memory.usage', variantOf('system.memory.usage', { state: 'cached' })).above).toBeNull()
    expect(metricClass('system.cpu.time', variantOf('system.cpu.time', { 'cpu.mode': 'user' })).name).toBe('cpu')
    expect(metricClass('jobs', variantOf('jobs', { status: 'idle' })).name).toBe('other')
  })

  it('never gives more than a warning to a drop of traffic, and no harm to falling errors', () => {
    const traffic = metricClass('requests', '')
    expect(severityOf(traffic, 'below', 10, 1)).toBe('warning')
    expect(severityOf(traffic, 'above', 10, 10)).toBe('info')
    expect(metricClass('x.errors', '').below).toBeNull()
  })

  it('grades by distance: near the limit is one step less', () => {
    const latency = metricClass('x.duration', '')
    expect(severityOf(latency, 'above', 1.2, 5)).toBe('warning')
    expect(severityOf(latency, 'above', 3, 5)).toBe('critical')
    expect(severityOf(latency, 'above', 3, 0.3)).toBe('warning')
  })
})

describe('descriptors', () => {
  it('read non-monotonic cumulative sums as values, monotonic ones as rates, delta sums by window', () => {
    const table = new DescriptorTable({ ignore: [], important: [], metrics: [], deviationMinRelative: 0.2 })
    const base = { name: 'm', unit: '{x}', kind: POINT_KIND.sum, stat: '', variant: '' }
    const reading = (temporality: number, monotonic: boolean) => table.intern({ ...base, temporality, monotonic })!.reading
    expect([
      reading(TEMPORALITY.cumulative, false),
      reading(TEMPORALITY.cumulative, true),
      reading(TEMPORALITY.delta, true),
      reading(TEMPORALITY.delta, false)
    ]).toEqual([0, 1, 2, 2])
  })
})
